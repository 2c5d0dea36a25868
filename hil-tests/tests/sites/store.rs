//! `ecovisord store`, and who may open what.

use crate::configs::replaced;
use crate::outage::{ENGINES, config, verified};
use ecovisor_hil_tests::site::{Site, next};

fn other(engine: &str) -> &'static str {
    if engine == "sled" { "redb" } else { "sled" }
}

#[tokio::test]
async fn a_site_changes_its_engine_through_a_copy_and_only_so() {
    for engine in ENGINES {
        let mut site = Site::start(&config(engine)).await.unwrap();
        let last = next(&mut site.ticks().await.unwrap()).await.unwrap();
        assert_eq!(site.stop().await.unwrap(), Some(0));
        let before = verified(&site, "state").await.unwrap();

        site.configure(&config(other(engine))).unwrap();
        site.spawn(&[]).unwrap();
        assert_eq!(site.ended().await.unwrap(), Some(64));
        let said = format!("was written by {engine}, not by {}: say `engine = \"{engine}\"`", other(engine));
        assert!(
            site.log().contains(&said) && site.log().contains("ecovisord store copy --from"),
            "{}",
            site.log()
        );

        let copy = ["store", "copy", "--from", "state", "--to", "state/new", "--engine", other(engine)];
        let copied = site.ecovisord(&copy).await.unwrap();
        assert_eq!(copied.code, Some(0), "{}{}", copied.stdout, copied.stderr);
        assert!(copied.stdout.contains("the copy is the same"), "{}", copied.stdout);
        let again = site.ecovisord(&copy).await.unwrap();
        assert_eq!(again.code, Some(64));
        assert!(again.stderr.contains("state/new is not empty: name a directory"), "{}", again.stderr);

        std::fs::rename(site.path("state/store"), site.path("old")).unwrap();
        std::fs::rename(site.path("state/new"), site.path("state/store")).unwrap();
        assert_eq!(verified(&site, "state").await.unwrap()["digest"], before["digest"]);
        site.run(&[]).await.unwrap();
        let first = next(&mut site.ticks().await.unwrap()).await.unwrap();
        assert!(first.tick > last.tick, "{} came after {}", first.tick, last.tick);
    }
}

#[tokio::test]
async fn one_process_at_a_time_has_a_store() {
    for engine in ENGINES {
        let site = Site::start(&config(engine)).await.unwrap();
        let (config, state, run) = (site.path("site.toml"), site.path("state"), site.path("run2"));
        let [config, state, run] = [config, state, run].map(|path| path.display().to_string());
        let second = ["run", "--config", &config, "--run-dir", &run, "--state-dir", &state];
        let copy = ["store", "copy", "--from", "state", "--to", "copy"];
        for arguments in [&second[..], &["store", "verify", "state"], &copy] {
            let refused = site.ecovisord(arguments).await.unwrap();
            assert_eq!(refused.code, Some(64), "{refused:?}");
            assert!(refused.stderr.contains("is in use by another process"), "{}", refused.stderr);
        }
        assert!(!site.path("copy").exists());
        next(&mut site.ticks().await.unwrap()).await.unwrap();
    }
}

#[tokio::test]
async fn a_lost_end_keeps_the_daemon_down_and_a_salvage_brings_it_up() {
    let mut site = Site::start(&config("redb")).await.unwrap();
    assert_eq!(site.stop().await.unwrap(), Some(0));
    // An older copy of the engine's file under a witness that knows better.
    std::fs::copy(site.path("state/store/ledger.redb"), site.path("older")).unwrap();
    site.run(&[]).await.unwrap();
    next(&mut site.ticks().await.unwrap()).await.unwrap();
    assert_eq!(site.stop().await.unwrap(), Some(0));
    std::fs::copy(site.path("older"), site.path("state/store/ledger.redb")).unwrap();

    site.spawn(&[]).unwrap();
    assert_eq!(site.ended().await.unwrap(), Some(65), "{}", site.log());
    assert!(site.log().contains("were committed: its end is lost"), "{}", site.log());
    let salvage = site.ecovisord(&["store", "salvage", "--from", "state", "--to", "saved"]).await.unwrap();
    assert_eq!(salvage.code, Some(0), "{}{}", salvage.stdout, salvage.stderr);
    std::fs::remove_dir_all(site.path("state/store")).unwrap();
    std::fs::rename(site.path("saved"), site.path("state/store")).unwrap();
    site.run(&[]).await.unwrap();
}

#[tokio::test]
async fn an_engine_that_is_none_is_refused_by_name() {
    let site = Site::new(&replaced(&config("sled"), "engine = \"sled\"", "engine = \"rocks\"")).unwrap();
    let config = site.path("site.toml").display().to_string();
    let refused = site.ecovisord(&["check", "--config", &config]).await.unwrap();
    assert_eq!(refused.code, Some(64));
    assert!(
        refused.stderr.contains("unknown variant `rocks`, expected `sled` or `redb`"),
        "{}",
        refused.stderr
    );
}

#[tokio::test]
async fn a_running_site_is_copied_and_restored_from_the_copy() {
    for engine in ENGINES {
        let mut site = Site::start(&config(engine)).await.unwrap();
        let mut ticks = site.ticks().await.unwrap();
        let seen = next(&mut ticks).await.unwrap();
        let to = site.path("backup").display().to_string();
        let copied = site.ecoctl(&["--json", "store", "backup", "--to", &to]).await.unwrap();
        assert_eq!(copied.code, Some(0), "{}{}", copied.stdout, copied.stderr);
        // It went on meanwhile, and does now.
        assert!(next(&mut ticks).await.unwrap().tick > seen.tick);
        let copied: serde_json::Value = serde_json::from_str(&copied.stdout).unwrap();
        let report = verified(&site, "backup").await.unwrap();
        assert_eq!((&report["head"], &report["head_seq"]), (&copied["head"], &copied["entries"]), "{copied}");
        assert!(report["next_tick"].as_u64().unwrap() > seen.tick);
        let again = site.ecoctl(&["store", "backup", "--to", &to]).await.unwrap();
        assert!(again.code != Some(0) && again.stderr.contains("not there yet"), "{again:?}");

        assert_eq!(site.stop().await.unwrap(), Some(0));
        std::fs::remove_dir_all(site.path("state/store")).unwrap();
        std::fs::rename(site.path("backup/store"), site.path("state/store")).unwrap();
        site.run(&[]).await.unwrap();
        let first = next(&mut site.ticks().await.unwrap()).await.unwrap();
        assert!(first.tick >= report["next_tick"].as_u64().unwrap(), "{} follows {report}", first.tick);
    }
}
