//! `ecoctl run`: the program is attached before it runs, its exit code comes through, and nothing is left behind.
#![allow(clippy::unwrap_used)]

mod fake;

use fake::Daemon;
use std::path::Path;

/// Trees as cgroups would be: plain files that take what is written.
fn cgroups(root: &Path) -> String {
    for tree in ["cpu", "cpuacct", "freezer"] {
        std::fs::create_dir_all(root.join(tree)).unwrap();
        std::fs::write(root.join(tree).join("cgroup.procs"), "").unwrap();
    }
    root.to_str().unwrap().to_string()
}

#[tokio::test]
async fn the_exit_code_is_the_programs() {
    let daemon = Daemon::start().await;
    let check = async |command: &[&str], code: i32| {
        let run = ["run", "--app", "web", "--cgroup-root", "/nowhere", "--"];
        let output = daemon.ecoctl(&[&run, command].concat()).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{command:?}: {said}");
        said
    };
    let said = check(&["true"], 0).await;
    assert!(said.contains("metered, not capped: no right to make a cgroup"), "{said}");
    check(&["sh", "-c", "exit 7"], 7).await;
    check(&["sh", "-c", "kill -TERM $$"], 143).await;
    check(&["/nowhere/program"], 127).await;
    check(&["/etc/passwd"], 126).await;
}

#[tokio::test]
async fn by_pid_it_is_attached_capped_run_and_detached() {
    let daemon = Daemon::start().await;
    let run = ["run", "--app", "web", "--name", "job", "--cap", "40W", "--cgroup-root", "/nowhere", "--"];
    let output = daemon.ecoctl(&[&run[..], &["sh", "-c", "echo $$ $ECOVISOR_SOCKET"]].concat()).await;
    let printed = String::from_utf8(output.stdout).unwrap();
    let (pid, socket) = printed.trim().split_once(' ').unwrap();
    assert_eq!(socket, "/run/ecovisor/app/web.sock");
    let order = ["AttachAppContainerRequest", "ApplySetterRequest", "DetachAppContainerRequest"];
    assert_eq!(daemon.all_asked(), order);
    assert!(daemon.asked_at(0).contains(&format!("Pid({pid})")), "{}", daemon.asked_at(0));
    assert!(daemon.asked_at(1).contains("cap_mw: Some(40000)"), "{}", daemon.asked_at(1));
}

#[tokio::test]
async fn where_cgroups_can_be_made_it_joins_one_in_every_tree() {
    let daemon = Daemon::start().await;
    let root = tempfile::tempdir().unwrap();
    let cgroup_root = cgroups(root.path());
    let run = ["run", "--app", "web", "--name", "job", "--cgroup-root", &cgroup_root, "--", "true"];
    let output = daemon.ecoctl(&run).await;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    // The app's delegated subtree, /sys/fs/cgroup/web, seen from another root.
    let path = format!("{cgroup_root}/sys/fs/cgroup/web/job");
    assert!(daemon.asked_at(0).contains(&format!("CgroupPath({path:?})")), "{}", daemon.asked_at(0));
    for tree in ["cpu", "cpuacct", "freezer"] {
        let procs =
            std::fs::read_to_string(root.path().join(tree).join("sys/fs/cgroup/web/job/cgroup.procs"));
        assert!(procs.unwrap().parse::<u32>().is_ok(), "{tree}");
    }
}

/// The real hierarchies of this machine, where the right to make cgroups is there.
#[tokio::test]
async fn a_real_cgroup_holds_the_program_and_is_gone_afterwards() {
    let daemon = Daemon::start().await;
    let name = format!("ecoctl-test-{}", std::process::id());
    let run = ["run", "--app", "web", "--name", &name, "--", "cat", "/proc/self/cgroup"];
    let output = daemon.ecoctl(&run).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if said.contains("no right to make a cgroup") {
        println!("skipped, because {said}");
        return;
    }
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(said, "");
    let hierarchies = String::from_utf8(output.stdout).unwrap();
    assert!(hierarchies.contains(&format!("/web/{name}\n")), "{hierarchies}");
    for tree in ["", "cpu", "cpuacct", "freezer", "unified"] {
        let left = Path::new("/sys/fs/cgroup").join(tree).join("web").join(&name);
        assert!(!left.exists(), "{}", left.display());
    }
    assert_eq!(daemon.all_asked(), ["AttachAppContainerRequest", "DetachAppContainerRequest"]);
}

#[tokio::test]
async fn a_signal_reaches_the_program() {
    let daemon = Daemon::start().await;
    let socket = daemon.socket();
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_ecoctl"));
    let script = "trap 'echo caught; exit 5' TERM; echo ready; while :; do sleep 0.05; done";
    command.arg("--socket").arg(&socket);
    command.args(["run", "--app", "web", "--cgroup-root", "/nowhere", "--", "sh", "-c", script]);
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped()).kill_on_drop(true);
    let mut running = command.spawn().unwrap();
    let mut lines =
        tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(running.stdout.take().unwrap()));
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("ready"));
    let pid = rustix::process::Pid::from_raw(i32::try_from(running.id().unwrap()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("caught"));
    assert_eq!(running.wait().await.unwrap().code(), Some(5));
    assert_eq!(daemon.all_asked().last().map(String::as_str), Some("DetachAppContainerRequest"));
}

#[tokio::test]
async fn an_unknown_app_starts_nothing() {
    let daemon = Daemon::start().await;
    let output = daemon.ecoctl(&["run", "--app", "nobody", "--", "echo", "started"]).await;
    assert_eq!(output.status.code(), Some(5));
    assert!(output.stdout.is_empty());
}
