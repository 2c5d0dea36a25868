//! What a running daemon bears from outside: more connections than it has room for, files that run out, readers that do
//! not read, places that are taken. It goes on and answers, and says what it refuses.

use crate::configs::{NOON, noon_and, real, replaced};
use crate::skip;
use ecovisor_hil_tests::site::{Site, ended, free_port, next};
use ecovisor_hil_tests::{process, raw, wait};
use ecovisor_sdk::operator::{Messages, wire};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::path::Path;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpStream, UnixStream};

/// Lets this process open that many files; why it cannot, where it cannot.
fn open_files(wanted: u64) -> Result<(), String> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    if maximum.is_some_and(|most| most < wanted) {
        return Err(format!("a process may open {maximum:?} files here, and this takes {wanted}"));
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).map_err(|error| error.to_string())
}

/// The next ticks come one after the other, none is lost, and none took so long that it became a gap.
async fn goes_on(site: &Site, ticks: &mut Messages<wire::SiteTick>) {
    let mut before: Option<u64> = None;
    for _ in 0..5 {
        let tick = next(ticks).await.unwrap();
        assert!(before.is_none_or(|before| tick.tick == before + 1) && tick.missed == 0, "{tick:?}");
        before = Some(tick.tick);
    }
    assert_eq!(site.app("batch").await.unwrap().state().await.unwrap().app, "batch");
}

fn log(site: &Site) -> String {
    std::fs::read_to_string(site.path("daemon.log")).unwrap()
}

#[tokio::test]
async fn ten_thousand_connections_take_no_more_room_than_there_is() {
    const EACH: usize = 2_500;
    if let Err(why) = open_files(11_000) {
        skip!("{why}");
    }
    let (tcp, metrics) = (free_port().unwrap(), free_port().unwrap());
    let doors = format!(
        "[metrics]\nlisten = \"127.0.0.1:{metrics}\"\n[tls]\nlisten = \"127.0.0.1:{tcp}\"\nca = \"DIR/ca/ca.pem\"\n\
         cert = \"DIR/ca/server.pem\"\nkey = \"DIR/ca/server.key\"\n"
    );
    let mut site = Site::new(&format!("{}{doors}", real())).unwrap();
    crate::tls::make_ca(&site.path("ca")).await;
    site.run(&[]).await.unwrap();
    let pid = site.pid().unwrap();
    let mut ticks = site.ticks().await.unwrap();
    let (files, rss) = (process::files(pid).unwrap(), process::rss_kib(pid).unwrap());
    let (mut unix, mut net) = (Vec::new(), Vec::new());
    for _ in 0..EACH {
        for socket in [site.socket(), site.app_socket("web")] {
            unix.push(wait::answer("a connection", UnixStream::connect(socket)).await.unwrap());
        }
        for port in [tcp, metrics] {
            net.push(wait::answer("a connection", TcpStream::connect(("127.0.0.1", port))).await.unwrap());
        }
    }
    assert_eq!(unix.len() + net.len(), 10_000);
    goes_on(&site, &mut ticks).await;
    let (held, grown) =
        (process::files(pid).unwrap() - files, process::rss_kib(pid).unwrap().saturating_sub(rss));
    println!("10000 connections: {held} files of the daemon, {grown} KiB more of its memory");
    assert!(held < 400, "{held} files are held");
    assert!(grown < 20_000, "{grown} KiB");
    let log = log(&site);
    let refused = log.lines().filter(|line| line.contains("too many")).count();
    assert!((1..200).contains(&refused), "{refused} lines for 10000 connections");
    drop((unix, net));
    wait::until("there is room again", async || {
        site.operator().await.ok()?.get_site(wire::GetSiteRequest {}).await.ok()
    })
    .await
    .unwrap();
    assert_eq!(site.app("web").await.unwrap().state().await.unwrap().app, "web");
}

#[tokio::test]
async fn where_files_run_out_the_site_goes_on_and_does_not_spin() {
    let mut site = Site::new(&real()).unwrap();
    site.spawn_with_files(72).unwrap();
    wait::until("the daemon answers", async || {
        site.operator().await.ok()?.get_site(wire::GetSiteRequest {}).await.ok()?.last
    })
    .await
    .unwrap();
    let pid = site.pid().unwrap();
    let mut ticks = site.ticks().await.unwrap();
    let mut held = Vec::new();
    for _ in 0..60 {
        for socket in [site.socket(), site.app_socket("web")] {
            held.push(wait::answer("a connection", UnixStream::connect(socket)).await.unwrap());
        }
    }
    wait::until("files run out", async || {
        log(&site).contains("a connection cannot be accepted").then_some(())
    })
    .await
    .unwrap();
    let cpu = process::cpu_ticks(pid).unwrap();
    for _ in 0..6 {
        let tick = next(&mut ticks).await.unwrap();
        assert_eq!(tick.missed, 0);
    }
    // Three seconds; a loop that spins takes all of them.
    let used = process::cpu_ticks(pid).unwrap() - cpu;
    assert!(used < 100, "{used} ticks of 10 ms in three seconds");
    drop(held);
    goes_on(&site, &mut ticks).await;
}

#[tokio::test]
async fn readers_that_never_read_cost_a_bounded_amount() {
    // A tenth of a second a tick, so that much is to be told.
    let config = replaced(NOON, "tick = \"60 s\"", "tick = \"30 s\"");
    let site = Site::start(&replaced(&config, "factor = 600", "factor = 300")).await.unwrap();
    let pid = site.pid().unwrap();
    let mut ticks = site.ticks().await.unwrap();
    goes_on(&site, &mut ticks).await;
    let before = process::rss_kib(pid).unwrap();
    let mut deaf = Vec::new();
    for _ in 0..24 {
        let mut stream = UnixStream::connect(site.app_socket("web")).await.unwrap();
        stream.write_all(&raw::calls("/ecovisor.v1.EnergyService/WatchTicks", 128)).await.unwrap();
        deaf.push(stream);
    }
    for _ in 0..100 {
        let tick = next(&mut ticks).await.unwrap();
        assert_eq!(tick.missed, 0);
    }
    let grown = process::rss_kib(pid).unwrap().saturating_sub(before);
    println!("24 connections of 128 streams that nobody reads, 100 ticks: {grown} KiB more");
    assert!(grown < 48 * 1024, "{grown} KiB");
    goes_on(&site, &mut ticks).await;
    drop(deaf);
}

/// How a second daemon on the first one's places ends.
async fn second(first: &Site, run_dir: &Path, state_dir: &Path) -> ecovisor_hil_tests::site::Ended {
    let mut daemon =
        ecovisor_hil_tests::site::command(ecovisor_hil_tests::programs::program("ecovisord").unwrap());
    daemon.args(["run", "--config"]).arg(first.path("site.toml"));
    daemon.arg("--run-dir").arg(run_dir).arg("--state-dir").arg(state_dir);
    ended(&mut daemon).await.unwrap()
}

#[tokio::test]
async fn places_that_a_daemon_has_are_not_taken_by_a_second_one() {
    let site = Site::start(NOON).await.unwrap();
    let mut ticks = site.ticks().await.unwrap();
    let sockets = second(&site, &site.path("run"), &site.path("other-state")).await;
    assert_eq!(sockets.code, Some(64), "{}", sockets.stderr);
    let named =
        format!("another process listens on {}: is an ecovisord running already?", site.socket().display());
    assert!(sockets.stderr.contains(&named), "{}", sockets.stderr);
    let store = second(&site, &site.path("other-run"), &site.path("state")).await;
    assert_eq!(store.code, Some(64), "{}", store.stderr);
    assert!(store.stderr.contains(&site.path("state").display().to_string()), "{}", store.stderr);
    assert!(!site.path("other-run").exists(), "something was bound");
    goes_on(&site, &mut ticks).await;
}

#[tokio::test]
async fn what_stands_in_a_sockets_place_is_left_there() {
    let site = Site::new(NOON).unwrap();
    std::fs::create_dir_all(site.path("run")).unwrap();
    std::fs::write(site.socket(), "mine").unwrap();
    let file = second(&site, &site.path("run"), &site.path("state")).await;
    assert_eq!(file.code, Some(64), "{}", file.stderr);
    let named = format!("{} is in the way", site.socket().display());
    assert!(file.stderr.contains(&named), "{}", file.stderr);
    assert_eq!(std::fs::read_to_string(site.socket()).unwrap(), "mine");
    std::fs::remove_file(site.socket()).unwrap();
    std::fs::create_dir(site.socket()).unwrap();
    let directory = second(&site, &site.path("run"), &site.path("state")).await;
    assert_eq!(directory.code, Some(64), "{}", directory.stderr);
    assert!(directory.stderr.contains(&named), "{}", directory.stderr);
    std::fs::remove_dir(site.socket()).unwrap();
    // A socket that nobody listens on is a leftover; a file in an app's place keeps that app alone without one.
    drop(std::os::unix::net::UnixListener::bind(site.socket()).unwrap());
    std::fs::create_dir_all(site.path("run/app")).unwrap();
    std::fs::write(site.app_socket("web"), "mine").unwrap();
    let mut site = site;
    site.run(&[]).await.unwrap();
    let mut ticks = site.ticks().await.unwrap();
    goes_on(&site, &mut ticks).await;
    assert_eq!(std::fs::read_to_string(site.app_socket("web")).unwrap(), "mine");
    assert!(log(&site).contains("an app has no socket"), "{}", site.log());
}

#[tokio::test]
async fn a_configuration_that_is_no_text_ends_with_64_and_binds_nothing() {
    for (bytes, named) in [
        (&b"\x7fELF\x02\x01\x01\x00\xff"[..], "is no UTF-8 text: byte 8 is 0xff"),
        (&vec![b'#'; 10 << 20][..], "has more than the 4194304 bytes"),
        (b"", "missing field `site`"),
        (b"[site]\nname = \"a\"\nname = \"b\"\n", "duplicate key"),
    ] {
        let site = Site::new("").unwrap();
        std::fs::write(site.path("site.toml"), bytes).unwrap();
        let refused = ended(&mut site.command().unwrap()).await.unwrap();
        assert_eq!(refused.code, Some(64), "{}", refused.stderr);
        assert!(refused.stderr.contains(named) && refused.stderr.contains("site.toml"), "{}", refused.stderr);
        assert!(!site.path("run").exists() && !site.path("state").exists());
    }
    // What another editor made of a good one is a good one.
    let site = Site::new("").unwrap();
    std::fs::write(site.path("site.toml"), format!("\u{feff}{}", NOON.replace('\n', "\r\n"))).unwrap();
    let mut check =
        ecovisor_hil_tests::site::command(ecovisor_hil_tests::programs::program("ecovisord").unwrap());
    let checked = ended(check.args(["check", "--config"]).arg(site.path("site.toml"))).await.unwrap();
    assert_eq!(checked.code, Some(0), "{}", checked.stderr);
}

#[tokio::test]
async fn a_reload_of_what_is_no_file_is_refused_and_holds_nothing_up() {
    let site = Site::start(NOON).await.unwrap();
    let mut ticks = site.ticks().await.unwrap();
    let path = site.path("site.toml");
    std::fs::remove_file(&path).unwrap();
    // A pipe that nobody writes to.
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
        .unwrap();
    let reload = || wire::ReloadConfigRequest { dry_run: false };
    let refused = site.operator().await.unwrap().reload_config(reload()).await.unwrap_err();
    assert!(refused.to_string().contains("is no regular file"), "{refused}");
    std::fs::remove_file(&path).unwrap();
    let refused = site.operator().await.unwrap().reload_config(reload()).await.unwrap_err();
    assert!(refused.to_string().contains("No such file"), "{refused}");
    goes_on(&site, &mut ticks).await;
}

#[tokio::test]
async fn denied_calls_do_not_fill_the_audit_trail() {
    let site = Site::start(&noon_and("")).await.unwrap();
    let mut ticks = site.ticks().await.unwrap();
    let socket = ecovisor_sdk::Address::socket(site.app_socket("web"));
    let web = ecovisor_sdk::operator::Operator::connect_to(&socket);
    let web = web.await.unwrap();
    for _ in 0..500 {
        web.list_apps(wire::ListAppsRequest {}).await.unwrap_err();
    }
    let denied = site.trail().unwrap().lines().filter(|line| line.contains("\"denied\"")).count();
    assert_eq!(denied, 30);
    goes_on(&site, &mut ticks).await;
    let mut site = site;
    assert_eq!(site.stop().await.unwrap(), Some(0));
    let trail = site.trail().unwrap();
    assert!(trail.contains("470 more calls were denied within 60 s"), "{trail}");
}
