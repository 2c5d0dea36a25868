//! The one task that owns the site's state: gather, journal, step, publish, apply.

pub mod handle;
