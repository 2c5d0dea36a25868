//! How the daemon ends: in good order when it is told to, with 70 when its tick loop ends, at once when it is told twice.

use crate::configs::NOON;
use ecovisor_hil_tests::site::{Site, next};
use ecovisor_hil_tests::wait;
use rustix::process::Signal;

#[tokio::test]
async fn a_daemon_that_is_told_to_stop_tells_its_streams_and_removes_its_sockets() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut site = Site::start(NOON).await.unwrap();
        let mut ticks = site.ticks().await.unwrap();
        next(&mut ticks).await.unwrap();
        assert!(site.socket().exists() && site.app_socket("web").exists());
        site.signal(signal).unwrap();
        let farewell = wait::answer("the stream's end", async {
            loop {
                match ticks.next().await {
                    Ok(Some(_)) => {}
                    end => break anyhow::Ok(end),
                }
            }
        });
        let farewell = farewell.await.unwrap().unwrap_err();
        assert!(farewell.to_string().contains("stopping"), "{farewell}");
        assert_eq!(site.ended().await.unwrap(), Some(0));
        for socket in [site.socket(), site.app_socket("web"), site.app_socket("batch")] {
            assert!(!socket.exists(), "{} is left behind", socket.display());
        }
    }
}

#[tokio::test]
async fn a_stopped_site_goes_on_without_replaying() {
    let mut site = Site::start(NOON).await.unwrap();
    let mut ticks = site.ticks().await.unwrap();
    let last = next(&mut ticks).await.unwrap();
    assert_eq!(site.stop().await.unwrap(), Some(0));
    site.run(&[]).await.unwrap();
    let again = next(&mut site.ticks().await.unwrap()).await.unwrap();
    assert!(again.tick > last.tick && again.wall_start_ms >= last.wall_start_ms + last.span_ms);
    assert!(site.log().contains("replayed=0") || site.log().contains("replayed=1"), "{}", site.log());
}

#[tokio::test]
async fn the_end_of_the_tick_loop_ends_the_process_with_70() {
    let mut site = Site::new(NOON).unwrap();
    site.spawn(&["--fail-at-tick", "5"]).unwrap();
    assert_eq!(site.ended().await.unwrap(), Some(70), "{}", site.log());
    assert!(site.log().contains("told to fail at tick 5"), "{}", site.log());
    site.run(&[]).await.unwrap();
    let tick = next(&mut site.ticks().await.unwrap()).await.unwrap();
    assert!(tick.tick >= 5, "it goes on with tick 5, not {}", tick.tick);
}
