//! The power goes at any moment, and only what was synced is left: `hil-tests/powercut` is the disk. `ECOVISOR_CUTS` asks for
//! more cuts per engine than the few of every run.

use crate::outage::{ENGINES, Sent, asked, commands, config, goes_on};
use ecovisor_hil_tests::programs::layer;
use ecovisor_hil_tests::site::Site;
use ecovisor_powercut::Dice;
use std::ffi::OsString;

/// Cuts per engine in every run.
const CUTS: u64 = 5;

/// Operations on the disk within which the power goes: a start takes some thirty, a commit three or four.
const OPERATIONS: usize = 500;

/// Which syncs count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Syncs {
    Count,
    Ignored,
}

/// One cut: at which operation, and by which seed some of what was not synced survives.
#[derive(Clone, Copy, Debug)]
struct Cut {
    at: usize,
    seed: Option<u64>,
    syncs: Syncs,
}

impl Cut {
    /// Every other one leaves only what was synced. Every fifth is likely to hit the start.
    fn throw(number: u64, dice: &mut Dice) -> Self {
        let operations = if number % 5 == 4 { 40 } else { OPERATIONS };
        let seed = (number % 2 == 1).then_some(number);
        Self { at: 1 + dice.below(operations), seed, syncs: Syncs::Count }
    }

    fn surroundings(self, site: &Site) -> Vec<(&'static str, OsString)> {
        let mut variables: Vec<(&str, OsString)> = vec![
            ("LD_PRELOAD", layer("powercut").unwrap().into()),
            ("POWERCUT_DIR", site.path("state").into()),
            ("POWERCUT_TO", site.path("left").into()),
            ("POWERCUT_AT", self.at.to_string().into()),
        ];
        variables.extend(self.seed.map(|seed| ("POWERCUT_SEED", seed.to_string().into())));
        if self.syncs == Syncs::Ignored {
            variables.push(("POWERCUT_SYNC", "ignored".into()));
        }
        variables
    }

    /// Runs a daemon until the power goes; what is left is its state then.
    async fn make(self, site: &mut Site, sent: &mut Sent) {
        site.surround(self.surroundings(site));
        site.spawn(&[]).unwrap();
        let ended = sent.send_until_it_ends(site).await;
        assert_eq!(ended, None, "{self:?}: the daemon ended by itself:\n{}", site.log());
        let (state, left) = (site.path("state"), site.path("left"));
        assert!(left.is_dir(), "{self:?}: something else killed it:\n{}", site.log());
        std::fs::remove_dir_all(&state).unwrap();
        std::fs::rename(left, state).unwrap();
    }
}

/// A site that ran once, and how many commands that took.
async fn begun(engine: &str) -> (Site, u64) {
    let mut site = Site::start(&config(engine)).await.unwrap();
    assert_eq!(site.stop().await.unwrap(), Some(0));
    let base = commands(&site).await;
    (site, base)
}

async fn nothing_acknowledged_is_lost(engine: &str) {
    let (mut site, base) = begun(engine).await;
    let (mut sent, mut dice) = (Sent::default(), Dice(7));
    for number in 0..asked("ECOVISOR_CUTS", CUTS) {
        let cut = Cut::throw(number, &mut dice);
        cut.make(&mut site, &mut sent).await;
        sent.kept(&site, base)
            .await
            .unwrap_or_else(|lost| panic!("cut {number}, {cut:?}: {lost}\n{}", site.log()));
    }
    println!("{engine}: {} of {} commands were acknowledged, none is lost", sent.acknowledged, sent.tried);
    assert!(sent.acknowledged > 20, "the cuts hit a busy daemon: {sent:?}");
    goes_on(&mut site, &sent, base).await;
}

#[tokio::test]
async fn in_sled_nothing_acknowledged_is_lost_when_the_power_goes() {
    nothing_acknowledged_is_lost("sled").await;
}

#[tokio::test]
async fn in_redb_nothing_acknowledged_is_lost_when_the_power_goes() {
    nothing_acknowledged_is_lost("redb").await;
}

/// The store is being made; nothing was acknowledged yet.
#[tokio::test]
async fn a_site_whose_first_start_was_cut_starts() {
    for engine in ENGINES {
        let mut dice = Dice(3);
        for number in 0..asked("ECOVISOR_CUTS", CUTS) {
            let mut site = Site::new(&config(engine)).unwrap();
            std::fs::create_dir(site.path("state")).unwrap();
            let cut = Cut {
                at: 1 + dice.below(40),
                seed: (number % 2 == 1).then_some(number),
                syncs: Syncs::Count,
            };
            cut.make(&mut site, &mut Sent::default()).await;
            site.surround(Vec::new());
            site.run(&[]).await.unwrap_or_else(|error| panic!("{engine}, {cut:?}: {error:#}"));
        }
    }
}

/// The test above can fail: on a disk that forgets what it said was synced, it does.
#[tokio::test]
async fn a_disk_that_lies_is_found_out() {
    for engine in ENGINES {
        let (mut site, base) = begun(engine).await;
        let mut sent = Sent::default();
        Cut { at: 300, seed: None, syncs: Syncs::Ignored }.make(&mut site, &mut sent).await;
        assert!(sent.acknowledged > 0, "{engine}: {sent:?}");
        let lost = sent.kept(&site, base).await.unwrap_err();
        assert!(lost.contains("commands in the journal"), "{engine}: {lost}");
    }
}
