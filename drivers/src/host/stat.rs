//! Decodes `/proc/PID/stat` and `/proc/stat` (proc(5)). Pure.

/// What a process has used, in clock ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ProcessStat {
    pub(super) parent: u32,
    /// It has ended and waits for its parent.
    pub(super) zombie: bool,
    /// utime + stime.
    pub(super) own: u64,
    /// cutime + cstime: of children that have ended and were waited for, and theirs.
    pub(super) children: u64,
    /// When it started, ticks since boot: with the pid, its identity.
    pub(super) started: u64,
}

/// `/proc/PID/stat`; `None` where it cannot be understood. The name, in brackets, may hold anything, so what follows
/// the last bracket is counted: state is field 3, the parent 4, times 14 to 17, the start 22.
pub(super) fn process(text: &str) -> Option<ProcessStat> {
    let (_, after_name) = text.rsplit_once(')')?;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).copied();
    let figure = |number: usize| field(number)?.parse::<u64>().ok();
    // cutime and cstime are signed in the kernel's format; below zero they would be nothing.
    let signed =
        |number: usize| field(number)?.parse::<i64>().ok().map(|ticks| u64::try_from(ticks).unwrap_or(0));
    Some(ProcessStat {
        parent: field(4)?.parse().ok()?,
        zombie: matches!(field(3)?, "Z" | "X" | "x"),
        own: figure(14)?.checked_add(figure(15)?)?,
        children: signed(16)?.checked_add(signed(17)?)?,
        started: figure(22)?,
    })
}

/// `/proc/stat`: busy ticks over all cores, and how many cores there are. Busy are user, nice, system, irq and softirq
/// (guests are part of user); idle, waiting for disks and time that a hypervisor gave to others are not.
pub(super) fn machine(text: &str) -> Option<(u64, u32)> {
    let total = text.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let fields: Vec<u64> = total.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
    let busy = [0, 1, 2, 5, 6].into_iter().map(|place| fields.get(place).copied());
    let busy = busy.collect::<Option<Vec<u64>>>()?.into_iter().try_fold(0_u64, u64::checked_add)?;
    let core = |line: &&str| {
        line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let cores = u32::try_from(text.lines().filter(core).count()).ok()?;
    Some((busy, cores))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Recorded on Linux 6.18; the name was set to be difficult.
    const RECORDED: &str = "4242 (a) R (b) S 17 4242 4242 0 -1 4194304 1350 900 0 0 12 34 56 78 20 0 1 0 987654 \
                            3100672 450 18446744073709551615 0 0 0 0 0 0 0 0 65538 0 0 0 17 1 0 0 0 0 0\n";

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let expected = ProcessStat { parent: 17, zombie: false, own: 46, children: 134, started: 987_654 };
        assert_eq!(process(RECORDED), Some(expected));
    }

    #[test]
    fn an_ended_process_is_a_zombie() {
        assert!(process(&RECORDED.replace(") S 17", ") Z 17")).unwrap().zombie);
    }

    #[test]
    fn a_text_that_ends_early_is_not_understood() {
        assert_eq!(process(RECORDED.split(" 987654").next().unwrap()), None);
        assert_eq!(process(""), None);
    }

    #[test]
    fn the_machine_is_busy_without_idle_waiting_and_stolen_time() {
        let text = "cpu  1 2 4 1000 1000 8 16 1000 1 0\ncpu0 1 2 4 1000 1000 8 16 1000 1 0\ncpu1 0 0 0 0 0 0 0 0 0 0\n\
                    intr 5\n";
        assert_eq!(machine(text), Some((31, 2)));
        assert_eq!(machine("cpu  1 2 4\n"), None);
    }

    proptest! {
        #[test]
        fn no_text_is_a_panic(text in ".*", figures in prop::collection::vec(any::<i64>(), 0..30)) {
            let figures: Vec<String> = figures.iter().map(i64::to_string).collect();
            let _ = (process(&text), machine(&text));
            let _ = process(&format!("1 (x) S {}", figures.join(" ")));
            let _ = machine(&format!("cpu {}", figures.join(" ")));
        }
    }
}
