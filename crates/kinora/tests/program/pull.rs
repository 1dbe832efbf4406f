//! Pulling a model from a server of this test.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::support::{ended, kinora, kinora_anywhere, names_in, program};
use crate::wan_model;

const NAME: &str = "wan2.1-t2v-1.3b";

/// Serves the files below `root` until the test process ends; gives its address.
fn serve(root: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that goes away is no failure.
            drop(answer(stream, &root));
        }
    });
    address
}

fn answer(mut stream: TcpStream, root: &Path) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().unwrap_or(Ok(String::new()))?;
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let mut words = request.split(' ');
    let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let (status, data) = match std::fs::read(root.join(path.trim_start_matches('/'))) {
        Ok(data) => ("200 OK", data),
        Err(_) => ("404 Not Found", Vec::new()),
    };
    let length = data.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    match method {
        "HEAD" => Ok(()),
        _ => stream.write_all(&data),
    }
}

/// A source with the tiny model under the name of a real one.
fn source() -> (TempDir, String) {
    let folder = TempDir::new().unwrap();
    let repository = folder.path().join("Wan-AI/Wan2.1-T2V-1.3B-Diffusers/resolve");
    wan_model::diffusers(&repository, "main");
    let address = serve(folder.path().to_owned());
    (folder, address)
}

#[test]
fn a_model_is_shown_then_pulled_then_used() {
    let (_source, address) = source();
    let folder = TempDir::new().unwrap();
    let pull = |more: &[&str]| kinora(folder.path(), &[&["pull", NAME, "--source", &address], more].concat());

    let text = pull(&["--dry-run"]).expect_code(0).text();
    for word in [
        "Apache-2.0",
        "kinora/models/wan2.1-t2v-1.3b",
        "vae/diffusion_pytorch_model.safetensors",
        "no hash for 9",
    ] {
        assert!(text.contains(word), "{word}: {text}");
    }
    // Nobody is at a terminal here, so nobody agrees.
    let run = pull(&[]).expect_code(2);
    assert!(
        run.stderr.contains("Apache-2.0") && run.stderr.contains("\nhint: --yes agrees"),
        "{}",
        run.stderr
    );
    assert_eq!(names_in(folder.path()), [""; 0]);

    let run = pull(&["--yes", "--json"]).expect_code(0);
    assert_eq!(run.json()["fetched"], 9, "{}", run.text());
    assert!(
        run.stderr.contains("9 files pulled") && run.stderr.contains("--model wan2.1-t2v-1.3b"),
        "{}",
        run.stderr
    );
    let models = kinora(folder.path(), &["models", "--json"]).expect_code(0).json();
    assert_eq!((&models[1]["name"], &models[1]["problem"]), (&NAME.into(), &().into()));
    let size = [
        "--size", "64x64", "--frames", "5", "--steps", "2", "-o", "fox.mp4", "--quiet",
    ];
    kinora(
        folder.path(),
        &[&["generate", "a fox", "--model", NAME], &size[..]].concat(),
    )
    .expect_code(0);

    // Again: everything is there, and nobody has to agree to anything.
    let run = pull(&[]).expect_code(0);
    assert!(run.stderr.contains("everything was there already"), "{}", run.stderr);
    // What was lost comes back alone.
    let vae = folder
        .path()
        .join("kinora/models")
        .join(NAME)
        .join("vae/diffusion_pytorch_model.safetensors");
    std::fs::remove_file(vae).unwrap();
    let run = pull(&["-y"]).expect_code(0);
    assert!(run.stderr.contains("1 file pulled"), "{}", run.stderr);
}

#[test]
fn a_file_is_pulled_by_its_address() {
    let (source, address) = source();
    std::fs::copy(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../kinora-models/tests/fixtures/dialects/lora_original.safetensors"),
        source.path().join("style.safetensors"),
    )
    .unwrap();
    let folder = TempDir::new().unwrap();
    let url = format!("{address}/style.safetensors");
    let run = kinora(folder.path(), &["pull", &url, "--dir", "loras", "--yes"]).expect_code(0);
    assert!(
        run.stderr.contains("licence  unknown") && run.stderr.contains("--lora loras/style.safetensors"),
        "{}",
        run.stderr
    );
    assert_eq!(names_in(&folder.path().join("loras")), ["style.safetensors"]);
    kinora(
        folder.path(),
        &["pull", &format!("{address}/missing.safetensors"), "--yes"],
    )
    .expect_refusal(4, "404");
    kinora(folder.path(), &["pull", "wan2.1-t2v-1.4b", "--yes"]).expect_refusal(4, "did you mean `wan2.1-t2v-1.3b`");
}

#[test]
fn another_source_comes_from_the_environment() {
    let (_source, address) = source();
    let folder = TempDir::new().unwrap();
    let mut program = program(folder.path());
    program
        .env("KINORA_MODEL_SOURCE", &address)
        .args(["pull", NAME, "--dry-run", "--json", "--dir", "here"]);
    let plan = ended(program.output().unwrap()).expect_code(0).json();
    assert_eq!(
        (&plan["folder"], &plan["licence"]),
        (&format!("here/{NAME}").into(), &"Apache-2.0".into())
    );
    assert_eq!(plan["missing_bytes"], plan["total_bytes"]);
    assert_eq!(names_in(folder.path()), [""; 0]);
}

#[test]
fn what_can_be_pulled_is_listed() {
    let text = kinora_anywhere(&["pull", "--list"]).expect_code(0).text();
    assert!(
        text.starts_with("NAME ") && text.contains(NAME) && text.contains("Apache-2.0"),
        "{text}"
    );
    let list = kinora_anywhere(&["pull", "--list", "--json"]).expect_code(0).json();
    assert_eq!(list[0]["name"], NAME);
}
