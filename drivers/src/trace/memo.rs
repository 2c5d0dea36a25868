//! The last answer of a trace, with the time for which it stays the same: a simulation asks minute by minute for what
//! holds for an hour.

use std::sync::Mutex;

/// An answer and when it holds: from the first of both times, in ms since the Unix epoch, to before the second.
#[derive(Clone, Copy, Debug)]
struct Answer<T> {
    from_utc_ms: u64,
    until_utc_ms: u64,
    value: Option<T>,
}

/// The last answer. It is no part of what a trace is: copies begin without one, and all are equal.
#[derive(Debug)]
pub(super) struct Memo<T>(Mutex<Option<Answer<T>>>);

impl<T> Default for Memo<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> Clone for Memo<T> {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl<T> PartialEq for Memo<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T: Copy> Memo<T> {
    /// What holds at `utc_ms`: the last answer where it still does, else what `look_up` says, with the first ms at which
    /// that may be another.
    pub(super) fn at(&self, utc_ms: u64, look_up: impl FnOnce() -> (Option<T>, u64)) -> Option<T> {
        // Who else asks at this moment looks up by itself.
        let Ok(mut last) = self.0.try_lock() else { return look_up().0 };
        if let Some(answer) = last.filter(|last| (last.from_utc_ms..last.until_utc_ms).contains(&utc_ms)) {
            return answer.value;
        }
        let (value, until_utc_ms) = look_up();
        *last = Some(Answer { from_utc_ms: utc_ms, until_utc_ms, value });
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_looked_up_once_for_the_time_that_it_holds() {
        let memo = Memo::default();
        let mut looks = 0;
        let mut at = |utc_ms, value: u32, until| {
            memo.at(utc_ms, || {
                looks += 1;
                (Some(value), until)
            })
        };
        assert_eq!(
            (at(10, 1, 20), at(19, 2, 30), at(20, 3, 30), at(9, 4, 10)),
            (Some(1), Some(1), Some(3), Some(4))
        );
        assert_eq!(looks, 3);
    }
}
