//! A disk that takes nothing more: full, or read-only. The daemon ends and says why; once there is room again it goes on,
//! and nothing that was acknowledged is lost.

use crate::outage::{ENGINES, Sent, commands, config, goes_on};
use ecovisor_hil_tests::programs::layer;
use ecovisor_hil_tests::site::Site;
use std::ffi::OsString;

fn surroundings(site: &Site, variable: &'static str, value: u64) -> Vec<(&'static str, OsString)> {
    vec![
        ("LD_PRELOAD", layer("powercut").unwrap().into()),
        ("POWERCUT_DIR", site.path("state").into()),
        (variable, value.to_string().into()),
    ]
}

/// A disk that refuses early and late; what the daemon says of it in its last words.
async fn refuses(variable: &'static str, values: [u64; 3], said: &str) {
    for engine in ENGINES {
        let mut site = Site::start(&config(engine)).await.unwrap();
        assert_eq!(site.stop().await.unwrap(), Some(0));
        let (base, mut sent) = (commands(&site).await, Sent::default());
        for value in values {
            site.surround(surroundings(&site, variable, value));
            site.spawn(&[]).unwrap();
            let ended = sent.send_until_it_ends(&mut site).await;
            let log = site.log();
            let last = log.lines().last().unwrap_or_default();
            assert!(matches!(ended, Some(64 | 70)), "{engine}, {variable}={value}: {ended:?}\n{log}");
            assert!(
                last.starts_with("ecovisord: ") && last.contains(said),
                "{engine}, {variable}={value}:\n{log}"
            );
            sent.kept(&site, base)
                .await
                .unwrap_or_else(|lost| panic!("{engine}, {variable}={value}: {lost}"));
        }
        assert!(sent.acknowledged > 0, "{engine}: {sent:?}");
        goes_on(&mut site, &sent, base).await;
    }
}

#[tokio::test]
async fn a_full_disk_ends_the_daemon_and_loses_nothing() {
    refuses("POWERCUT_SPACE", [2_000, 200_000, 700_000], "No space left on device").await;
}

#[tokio::test]
async fn a_read_only_disk_ends_the_daemon_and_loses_nothing() {
    refuses("POWERCUT_READ_ONLY_AT", [1, 60, 300], "Read-only file system").await;
}
