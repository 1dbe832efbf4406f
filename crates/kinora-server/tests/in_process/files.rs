//! Files in a folder and in a place that is none: whole or not at all, in pieces, and gone when they are deleted.

use futures_util::TryStreamExt;
use kinora_server::{Error, FileRef, Files};

fn key(text: &str) -> FileRef {
    FileRef(text.to_owned())
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 / 7) as u8).collect()
}

#[tokio::test]
async fn files_come_back_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let from = folder.path().join("from");
    // Larger than one part, and no multiple of it.
    let large = pattern((20 << 20) + 17);
    std::fs::write(&from, &large).unwrap();
    for files in [
        Files::in_folder(&folder.path().join("files")).unwrap(),
        Files::in_memory(),
    ] {
        let (video, small) = (key("videos/a/1/video.mp4"), key("records/keys/k.json"));
        files.import(&from, &video).await.unwrap();
        files.write(&small, "{}".into()).await.unwrap();
        assert_eq!(files.head(&video).await.unwrap().unwrap().bytes, large.len() as u64);
        assert_eq!(files.head(&key("videos/b")).await.unwrap(), None);
        assert_eq!(files.read(&small).await.unwrap().unwrap(), "{}");
        assert_eq!(files.read(&key("records/keys/l.json")).await.unwrap(), None);

        let pieces: Vec<_> = files
            .read_range(&video, 5..9_000_000)
            .await
            .unwrap()
            .unwrap()
            .try_collect()
            .await
            .unwrap();
        assert!(pieces.concat() == large[5..9_000_000]);
        let end = large.len() as u64 - 3;
        let pieces: Vec<_> = files
            .read_range(&video, end..end + 1000)
            .await
            .unwrap()
            .unwrap()
            .try_collect()
            .await
            .unwrap();
        assert_eq!(pieces.concat(), large[end as usize..], "it is cut to the file");
        assert!(files.read_range(&key("videos/b"), 0..1).await.unwrap().is_none());

        let to = folder.path().join("to");
        assert!(files.fetch_to(&video, &to).await.unwrap());
        assert!(std::fs::read(&to).unwrap() == large);
        assert!(!files.fetch_to(&key("videos/b"), &to).await.unwrap());

        let keys = |listed: Vec<kinora_server::FileInfo>| listed.into_iter().map(|file| file.key.0).collect::<Vec<_>>();
        assert_eq!(
            keys(files.list(Some(&key("videos"))).await.unwrap()),
            std::slice::from_ref(&video.0)
        );
        assert_eq!(files.names_in(&key("videos")).await.unwrap(), ["a"]);
        files.delete_all(&key("videos/a")).await.unwrap();
        files.delete_all(&key("videos/a")).await.unwrap();
        assert_eq!(keys(files.list(None).await.unwrap()), std::slice::from_ref(&small.0));
        files.delete(&small).await.unwrap();
        files.delete(&small).await.unwrap();
        assert!(files.list(None).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_key_never_leaves_its_place() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), "x").unwrap();
    let files = Files::in_folder(&folder.path().join("files")).unwrap();
    for bad in ["../secret", "videos/../../secret", "a//b", "videos/./a"] {
        assert!(files.read(&key(bad)).await.is_err(), "{bad}");
        assert_eq!(files.local_path(&key(bad)), None, "{bad}");
        assert!(files.delete_all(&key(bad)).await.is_err(), "{bad}");
    }
    assert!(files.delete_all(&key("")).await.is_err(), "not everything");
    assert!(folder.path().join("secret").exists());
}

#[tokio::test]
async fn a_file_that_cannot_be_imported_leaves_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let files = Files::in_folder(&folder.path().join("files")).unwrap();
    let at = key("uploads/a");
    files.write(&at, "old".into()).await.unwrap();
    assert!(files.import(&folder.path().join("nothing"), &at).await.is_err());
    assert_eq!(files.read(&at).await.unwrap().unwrap(), "old");
    assert_eq!(files.list(None).await.unwrap().len(), 1, "nothing half-written is left");
}

#[test]
fn places_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("new/files");
    assert!(
        Files::open(text.to_str().unwrap())
            .unwrap()
            .local_path(&key("a"))
            .is_some()
    );
    for bad in ["ftp://host/x", "s3://", "s3:///prefix"] {
        let error = Files::open(bad).unwrap_err();
        assert!(matches!(&error, Error::Setting { what: "--files", .. }), "{error}");
    }
}
