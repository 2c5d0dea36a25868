//! Random bytes of a store's files are changed: it is found, named and answered with an exit code, or it did not matter. Never a
//! panic, never a wrong figure.

use crate::outage::{ENGINES, asked, config, copy_tree};
use ecovisor_hil_tests::site::{Site, next};
use ecovisor_powercut::Dice;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// Damaged copies per engine in every run; `ECOVISOR_FLIPS` asks for more.
const FLIPS: u64 = 12;

/// All files of a store, with their lengths.
fn files(directory: &Path) -> Vec<(PathBuf, usize)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push((entry.path(), usize::try_from(entry.metadata().unwrap().len()).unwrap())),
        }
    }
    found.sort();
    found.retain(|(_, length)| *length > 0);
    found
}

/// Changes up to eight bytes, anywhere.
fn flip(directory: &Path, dice: &mut Dice) -> String {
    let files = files(directory);
    let mut told = Vec::new();
    for _ in 0..=dice.below(8) {
        let (path, length) = &files[dice.below(files.len())];
        let (at, mask) =
            (u64::try_from(dice.below(*length)).unwrap(), u8::try_from(1 + dice.below(255)).unwrap());
        let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ mask], at).unwrap();
        told.push(format!("{} at {at}", path.file_name().unwrap().display()));
    }
    told.join(", ")
}

#[tokio::test]
async fn damage_is_named_or_does_not_matter() {
    for engine in ENGINES {
        let mut site = Site::start(&config(engine)).await.unwrap();
        let mut ticks = site.ticks().await.unwrap();
        for _ in 0..30 {
            next(&mut ticks).await.unwrap();
        }
        // Killed, so that there is something to recover too.
        site.kill().await.unwrap();
        copy_tree(&site.path("state"), &site.path("whole"));
        let whole = site.ecovisord(&["store", "verify", "whole", "--json"]).await.unwrap();
        assert_eq!(whole.code, Some(0), "{whole:?}");
        let digest =
            |stdout: &str| serde_json::from_str::<serde_json::Value>(stdout).unwrap()["digest"].clone();
        let due = digest(&whole.stdout);
        let (mut harmless, mut dice) = (0, Dice(11));
        let flips = asked("ECOVISOR_FLIPS", FLIPS);
        for number in 0..flips {
            copy_tree(&site.path("state"), &site.path("hurt"));
            let hurt = flip(&site.path("hurt/store"), &mut dice);
            let ended = site.ecovisord(&["store", "verify", "hurt", "--json"]).await.unwrap();
            let about = || format!("{engine}, {number}: {hurt}: {ended:?}");
            match ended.code {
                Some(0) => {
                    assert_eq!(digest(&ended.stdout), due, "{}", about());
                    harmless += 1;
                }
                Some(64 | 65) => {
                    assert!(ended.stderr.lines().last().unwrap().starts_with("ecovisord: "), "{}", about())
                }
                _ => panic!("{}", about()),
            }
            assert!(!ended.stderr.contains("panicked"), "{}", about());
            std::fs::remove_dir_all(site.path("hurt")).unwrap();
        }
        println!("{engine}: {harmless} of {flips} damages did not matter, the others were named");
        assert!(harmless < flips, "{engine}: the damages hit nothing");
    }
}
