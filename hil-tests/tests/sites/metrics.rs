//! Metrics are served where they are asked for, and nowhere else.

use crate::configs::{NOON, noon_and};
use ecovisor_hil_tests::site::{Site, free_port, next};
use ecovisor_hil_tests::wait;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

async fn get(port: u16, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn metrics_tell_the_books_where_they_are_asked_for() {
    let port = free_port().unwrap();
    let site = Site::start(&noon_and(&format!("[metrics]\nlisten = \"127.0.0.1:{port}\"\n"))).await.unwrap();
    let mut ticks = site.ticks().await.unwrap();
    for _ in 0..3 {
        next(&mut ticks).await.unwrap();
    }
    let answer = wait::answer("metrics", get(port, "/metrics")).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    for line in
        ["ecovisor_tick_total ", "ecovisor_app_energy_joules_total{app=\"web\",flow=\"load\"} ", "# EOF"]
    {
        assert!(answer.contains(line), "{line} is not in\n{answer}");
    }
    let settled = answer.lines().find_map(|line| line.strip_prefix("ecovisor_tick_total ")).unwrap();
    assert!(settled.parse::<f64>().unwrap() >= 3.0, "{settled}");
    let elsewhere = wait::answer("another path", get(port, "/")).await.unwrap();
    assert!(elsewhere.starts_with("HTTP/1.1 404"), "{elsewhere}");
}

#[tokio::test]
async fn a_site_that_says_nothing_listens_on_no_port() {
    let site = Site::start(NOON).await.unwrap();
    let pid = site.pid().unwrap();
    let sockets: Vec<String> = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    assert!(!sockets.is_empty(), "it has its Unix sockets");
    for table in ["tcp", "tcp6", "udp", "udp6"] {
        let text = std::fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        let of_daemon = text.lines().skip(1).find(|line| {
            let inode = line.split_whitespace().nth(9).unwrap_or_default();
            sockets.iter().any(|socket| socket == inode)
        });
        assert_eq!(of_daemon, None, "{table}");
    }
}
