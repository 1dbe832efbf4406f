//! Whole evaluations of the embedded model at the smallest settings, with a judge of random weights.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a helper that fails fails its test

use std::path::{Path, PathBuf};

use kinora_eval::{
    Choice, ClipResult, Error, Evaluation, Kind, Metric, News, Outcome, PromptSet, Score, Task, find_judge,
};
use kinora_models::judge::Judge;
use kinora_pipeline::{CancelToken, ErrorKind, OpenOptions, Pipeline, PrecisionChoice};
use kinora_testkit::Golden;
use serde_json::Value;
use tempfile::TempDir;

const PROMPTS: &str = r#"[
{"id": 4, "kind": "seen", "prompt": "a dog on the moon", "labels": {"actors": ["dog"], "count": 1,
 "background": "background 3", "time": null, "weather": null, "motion": null, "camera": null}},
{"id": 9, "kind": "people", "prompt": "owl and robot at night, zoom in", "labels": {"actors": ["owl", "robot"], "count": 2,
 "background": null, "time": "night", "weather": null, "motion": null, "camera": "in"}}]"#;

/// A model, a judge, prompts, and a folder for the results.
struct Bench {
    folder: TempDir,
    pipeline: Pipeline,
    judge: Judge,
    judge_hash: String,
    set: PromptSet,
}

impl Bench {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let judge_folder = folder.path().join("judge");
        write_judge(&judge_folder);
        let prompts = folder.path().join("prompts.json");
        std::fs::write(&prompts, PROMPTS).unwrap();
        let options = OpenOptions {
            precision: PrecisionChoice::F32,
            max_memory_bytes: None,
            ..OpenOptions::default()
        };
        let (judge, judge_hash) = find_judge(Some(&judge_folder)).unwrap();
        Self {
            pipeline: Pipeline::open("toybox", options).unwrap(),
            judge,
            judge_hash,
            set: PromptSet::read(&prompts).unwrap(),
            folder,
        }
    }

    /// Runs with these steps into `out`, and asks it to stop after `stop_after` clips.
    fn run(&self, out: &str, steps: u32, stop_after: usize) -> (Result<Outcome, Error>, Vec<String>) {
        self.run_task(Task::Text, out, steps, stop_after)
    }

    /// The same for a task.
    fn run_task(&self, task: Task, out: &str, steps: u32, stop_after: usize) -> (Result<Outcome, Error>, Vec<String>) {
        let choice = Choice {
            task,
            steps: Some(steps),
            frames: 5,
            seed: 100,
            ..Choice::default()
        };
        let evaluation = Evaluation {
            pipeline: &self.pipeline,
            judge: &self.judge,
            judge_hash: &self.judge_hash,
            set: &self.set,
            choice: &choice,
            out: &self.out(out),
        };
        let (mut said, mut judged) = (Vec::new(), 0);
        let cancel = CancelToken::new();
        let mut news = |news: &News<'_>| match news {
            News::Started { done, of } => said.push(format!("{done} of {of}")),
            News::Judged(result) => {
                said.push(format!("judged {}", result.id));
                judged += 1;
                if judged == stop_after {
                    cancel.cancel();
                }
            }
            // An extension can be made in several parts, each with its steps.
            News::Step { done, of } => {
                let known = if task == Task::Text { 1 } else { 2 } * steps as usize;
                assert!(done <= of && (*of == known || task == Task::Extend && of % known == 0));
            }
        };
        (evaluation.run(&mut news, &cancel), said)
    }

    fn out(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn lines(&self, out: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.out(out).join("results.jsonl")).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

/// The judge of the goldens: random weights, clips of 128x96.
fn write_judge(folder: &Path) {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kinora-models");
    let golden = Golden::open(models.to_str().unwrap(), "judge_tiny");
    std::fs::create_dir(folder).unwrap();
    std::fs::write(folder.join("config.json"), golden.meta("config")).unwrap();
    std::fs::write(folder.join("model.safetensors"), golden.checkpoint_bytes("weights.")).unwrap();
}

fn finished(outcome: Result<Outcome, Error>) -> Score {
    match outcome.unwrap() {
        Outcome::Finished(score) => score,
        stopped => panic!("{stopped:?}"),
    }
}

#[test]
fn an_evaluation_goes_on_where_it_was_interrupted() {
    let bench = Bench::new();
    // 1. Stopped after the first clip, of which everything is kept
    let (outcome, said) = bench.run("out", 1, 1);
    assert!(matches!(outcome.unwrap(), Outcome::Stopped { done: 1, of: 2 }));
    assert_eq!(said, ["0 of 2", "judged 4"]);
    let before = bench.lines("out");
    assert_eq!(before.len(), 2);
    assert!(!bench.out("out").join("score.json").exists());

    // 2. The same call makes the other one
    let (outcome, said) = bench.run("out", 1, 0);
    let score = finished(outcome);
    assert_eq!(said, ["1 of 2", "judged 9"]);
    let lines = bench.lines("out");
    assert_eq!((&lines[..2], lines.len()), (&before[..], 3));
    let results: Vec<ClipResult> = lines[1..]
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        results.iter().map(|r| (r.id, r.seed)).collect::<Vec<_>>(),
        [(4, 104), (9, 109)]
    );
    assert!(
        results
            .iter()
            .all(|r| r.answers.actors.len() == 3 && (-1.0..=1.0).contains(&r.consistency))
    );
    assert!(results[0].verdict.time.is_none() && results[1].verdict.time.is_some());
    assert_eq!((score.all.clips, score.kinds[&Kind::People].clips), (2, 1));

    // 3. What is written says the same as what is returned
    let record: Value = serde_json::from_slice(&std::fs::read(bench.out("out/score.json")).unwrap()).unwrap();
    assert_eq!(serde_json::from_value::<Score>(record.clone()).unwrap(), score);
    assert_eq!(record["settings"]["steps"], 1);
    let page = std::fs::read_to_string(bench.out("out/score.md")).unwrap();
    assert!(
        page.contains("2 clips of 128x96, 5 frames; 1 steps") && page.contains(&score.markdown()),
        "{page}"
    );
    let sheet = kinora_media::read_image(&bench.out("out/sheet.png"), &kinora_media::Limits::default()).unwrap();
    assert_eq!((sheet.frame.width_px, sheet.frame.height_px), (2 * 486 + 6, 126 + 6));
    assert!(!bench.out("out/clips").exists(), "no clip is kept unasked");

    // 4. Nothing is left to do; in one go the same comes out
    let (outcome, said) = bench.run("out", 1, 0);
    assert_eq!((finished(outcome), said), (score.clone(), vec!["2 of 2".to_owned()]));
    assert_eq!(finished(bench.run("again", 1, 0).0), score);

    // 5. Other settings do not go into the same file
    let error = bench.run("out", 2, 0).0.unwrap_err();
    assert!(error.to_string().contains("steps: 1 there, 2 now"), "{error}");
    assert_eq!((error.kind(), bench.lines("out")), (ErrorKind::Usage, lines));
}

/// Runs a task with a stop after the first clip, then to the end; what its lines say, and the score.
fn run_interrupted(bench: &Bench, task: Task, out: &str) -> (Vec<ClipResult>, Score) {
    let (outcome, said) = bench.run_task(task, out, 1, 1);
    assert!(matches!(outcome.unwrap(), Outcome::Stopped { done: 1, of: 2 }));
    assert_eq!(said, ["0 of 2", "judged 4"]);
    let before = bench.lines(out);
    assert!(
        before[0].contains(&format!("\"task\":\"{}\"", task.name())),
        "{}",
        before[0]
    );
    let (outcome, said) = bench.run_task(task, out, 1, 0);
    let score = finished(outcome);
    assert_eq!(said, ["1 of 2", "judged 9"]);
    let lines = bench.lines(out);
    assert_eq!((&lines[..2], lines.len()), (&before[..], 3));
    let results: Vec<ClipResult> = lines[1..]
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let seeds: Vec<_> = results
        .iter()
        .map(|r| (r.id, r.seed, r.source.as_ref().unwrap().seed))
        .collect();
    assert_eq!(seeds, [(4, 1_000_104, 104), (9, 1_000_109, 109)]);
    // A strip has a fourth frame, the one before; nothing but results stays.
    let sheet = kinora_media::read_image(&bench.out(out).join("sheet.png"), &kinora_media::Limits::default()).unwrap();
    assert_eq!((sheet.frame.width_px, sheet.frame.height_px), (2 * 646 + 6, 126 + 6));
    let mut names: Vec<_> = std::fs::read_dir(bench.out(out))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        ["results.jsonl", "score.json", "score.md", "sheet.png", "strips"]
    );
    let kept = |result: &&ClipResult| result.source.as_ref().unwrap().kept.setting;
    assert_eq!(
        score.all.shares[&Metric::KeptSetting].right,
        results.iter().filter(kept).count()
    );
    (results, score)
}

#[test]
fn extensions_are_judged_by_their_new_frames() {
    let bench = Bench::new();
    let (results, score) = run_interrupted(&bench, Task::Extend, "extend");
    let seams: Vec<f64> = results.iter().filter_map(|r| r.source.as_ref()?.seam).collect();
    assert_eq!(seams.len(), 2);
    assert!(seams.iter().all(|seam| seam.is_finite() && *seam >= 0.0), "{seams:?}");
    let mean = (seams[0] + seams[1]) / 2.0;
    assert!((score.all.seam.unwrap().mean - mean).abs() < 1e-5);
    assert_eq!(score.all.first_frame, None);

    // The clip that is extended is the one that the words alone make.
    finished(bench.run("text", 1, 0).0);
    let text: ClipResult = serde_json::from_str(&bench.lines("text")[1]).unwrap();
    assert_eq!(text.answers, results[0].source.as_ref().unwrap().answers);
    assert_eq!(text.source, None);

    // Another task does not go into the same file, either way.
    for (task, out, told) in [
        (Task::Image, "extend", "task: \"extend\" there, \"image\" now"),
        (Task::Text, "extend", "task: \"extend\" there, \"text\" now"),
        (Task::Extend, "text", "task: \"text\" there, \"extend\" now"),
    ] {
        let error = bench.run_task(task, out, 1, 0).0.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.to_string().contains(told), "{error}");
    }
}

#[test]
fn clips_from_a_picture_are_compared_with_it() {
    let bench = Bench::new();
    let (results, score) = run_interrupted(&bench, Task::Image, "image");
    for source in results.iter().map(|r| r.source.as_ref().unwrap()) {
        let db = source.first_frame.unwrap();
        // The autoencoder gives a picture back nearly as it was; an unrelated one would be near 10.
        assert!((15.0..=60.0).contains(&db), "{db}");
        assert_eq!(source.seam, None);
    }
    assert_eq!(score.all.first_frame.unwrap().of, 2);
    assert!(score.markdown().contains("| first frame, dB | "));
}

#[test]
fn labels_that_the_judge_cannot_give_are_refused_before_anything_is_made() {
    let mut bench = Bench::new();
    bench.set.prompts[1].labels.time = Some("teatime".into());
    let error = bench.run("out", 1, 0).0.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("prompt 9: the judge knows no time \"teatime\""),
        "{error}"
    );
    assert!(!bench.out("out").exists());
}

#[test]
fn a_judge_that_is_missing_is_said_with_the_place() {
    let folder = TempDir::new().unwrap();
    let error = find_judge(Some(&folder.path().join("nobody"))).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Model);
    let text = error.to_string();
    assert!(text.contains("nobody") && text.contains("--judge"), "{text}");
    std::fs::write(folder.path().join("config.json"), "{}").unwrap();
    let text = find_judge(Some(folder.path())).err().unwrap().to_string();
    assert!(text.contains("model.safetensors") || text.contains("config"), "{text}");
}
