//! Goes between a program and libc (`LD_PRELOAD`) and keeps a [`Disk`] of what the program does below one directory. At a
//! chosen operation the power goes: what is left is written elsewhere, and the process is killed before it can say another word.
//! It can also play a disk that is full or read-only.
//!
//! | variable | what |
//! | --- | --- |
//! | `POWERCUT_DIR` | the directory that is watched; without it nothing is done |
//! | `POWERCUT_TO` | where what is left is written; must not be there |
//! | `POWERCUT_AT` | at which operation below the directory the power goes |
//! | `POWERCUT_SEED` | some of what was not synced survives, by this seed; without it none does |
//! | `POWERCUT_SYNC=ignored` | no sync counts: what a disk that lies would keep |
//! | `POWERCUT_SPACE` | bytes that may be written before the disk is full |
//! | `POWERCUT_READ_ONLY_AT` | from this operation on the disk is read-only |
//!
//! What it cannot see: memory maps, `io_uring`, direct system calls. The engines under test use none of them for writing.
#![allow(unsafe_code, clippy::missing_safety_doc, reason = "symbols of libc, with libc's own contracts")]
#![allow(clippy::as_conversions, reason = "C's own types")]

use ecovisor_powercut::{Disk, Node};
use libc::{c_char, c_int, c_void, iovec, mode_t, off64_t, size_t, ssize_t};
use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// What is asked for.
struct Plan {
    directory: PathBuf,
    to: Option<PathBuf>,
    at: Option<u64>,
    seed: Option<u64>,
    ignores_syncs: bool,
    space: Option<u64>,
    read_only_at: Option<u64>,
}

/// The plan and what became of it.
struct Layer {
    plan: Plan,
    disk: Disk,
    operations: u64,
    written: u64,
}

static LAYER: OnceLock<Option<Mutex<Layer>>> = OnceLock::new();

fn layer() -> Option<MutexGuard<'static, Layer>> {
    let layer = LAYER.get_or_init(|| Plan::read().map(|plan| Mutex::new(Layer::new(plan))));
    layer.as_ref().map(|layer| layer.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Plan {
    fn read() -> Option<Self> {
        let text = |name: &str| std::env::var_os(name);
        let number = |name: &str| {
            text(name).map(|said| said.to_str().and_then(|said| said.parse().ok()).expect("a number"))
        };
        Some(Self {
            directory: std::fs::canonicalize(text("POWERCUT_DIR")?).expect("POWERCUT_DIR is a directory"),
            to: text("POWERCUT_TO").map(PathBuf::from),
            at: number("POWERCUT_AT"),
            seed: number("POWERCUT_SEED"),
            ignores_syncs: text("POWERCUT_SYNC").is_some_and(|said| said == "ignored"),
            space: number("POWERCUT_SPACE"),
            read_only_at: number("POWERCUT_READ_ONLY_AT"),
        })
    }
}

impl Layer {
    fn new(plan: Plan) -> Self {
        let mut disk = Disk::default();
        disk.find(&plan.directory, Path::new(""), &read_file).expect("what is there can be read");
        Self { plan, disk, operations: 0, written: 0 }
    }

    /// A path below the directory.
    fn within(&self, path: &Path) -> Option<PathBuf> {
        let parent = std::fs::canonicalize(path.parent()?).ok()?;
        Some(parent.strip_prefix(&self.plan.directory).ok()?.join(path.file_name()?))
    }

    /// Before an operation: whether the disk takes it. Here the power goes.
    fn begin(&mut self, bytes: u64) -> Result<(), c_int> {
        self.operations += 1;
        if self.plan.at == Some(self.operations) {
            self.cut();
        }
        if self.plan.read_only_at.is_some_and(|at| self.operations >= at) {
            return Err(libc::EROFS);
        }
        self.written += bytes;
        if self.plan.space.is_some_and(|space| self.written > space) { Err(libc::ENOSPC) } else { Ok(()) }
    }

    fn cut(&mut self) -> ! {
        self.disk.cut(self.plan.seed);
        if let Some(to) = &self.plan.to {
            make_directory(to);
            for (path, content) in self.disk.left() {
                match content {
                    None => make_directory(&to.join(path)),
                    Some(content) => write_file(&to.join(path), content),
                }
            }
        }
        unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
        loop {
            std::hint::spin_loop();
        }
    }
}

/// A path for C.
fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).expect("no path holds a NUL")
}

// What the layer itself does goes straight to the kernel: through libc it would come by here again.

fn raw_open(path: &Path, flags: c_int) -> io::Result<c_int> {
    let path = c_path(path);
    let fd = unsafe {
        libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags | libc::O_CLOEXEC, 0o600)
    };
    if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(fd as c_int) }
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let fd = raw_open(path, libc::O_RDONLY)?;
    let (mut content, mut part) = (Vec::new(), vec![0_u8; 1 << 16]);
    loop {
        let read = unsafe { libc::syscall(libc::SYS_read, fd, part.as_mut_ptr(), part.len()) };
        match usize::try_from(read) {
            Ok(0) | Err(_) => break,
            Ok(read) => content.extend(&part[..read]),
        }
    }
    unsafe { libc::syscall(libc::SYS_close, fd) };
    Ok(content)
}

fn write_file(path: &Path, mut content: &[u8]) {
    let fd =
        raw_open(path, libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL).expect("what is left can be written");
    while !content.is_empty() {
        let written = unsafe { libc::syscall(libc::SYS_write, fd, content.as_ptr(), content.len()) };
        content = &content[usize::try_from(written).expect("what is left can be written")..];
    }
    unsafe { libc::syscall(libc::SYS_close, fd) };
}

fn make_directory(path: &Path) {
    let path = c_path(path);
    unsafe { libc::syscall(libc::SYS_mkdirat, libc::AT_FDCWD, path.as_ptr(), 0o700) };
}

fn refuse(errno: c_int) -> c_int {
    unsafe { *libc::__errno_location() = errno };
    -1
}

/// The next function of that name: libc's own.
macro_rules! next {
    ($name:literal, fn($($argument:ty),*) -> $result:ty) => {{
        static NEXT: OnceLock<usize> = OnceLock::new();
        let address = *NEXT.get_or_init(|| unsafe {
            libc::dlsym(libc::RTLD_NEXT, concat!($name, "\0").as_ptr().cast::<c_char>()) as usize
        });
        unsafe { std::mem::transmute::<usize, unsafe extern "C" fn($($argument),*) -> $result>(address) }
    }};
}

fn path_of(path: *const c_char) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(unsafe { CStr::from_ptr(path) }.to_bytes()))
}

/// A path as `*at` functions take it.
fn path_at(directory: c_int, path: *const c_char) -> PathBuf {
    let path = path_of(path);
    if path.is_absolute() || directory == libc::AT_FDCWD { path } else { of_descriptor(directory).join(path) }
}

fn of_descriptor(fd: c_int) -> PathBuf {
    std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap_or_default()
}

unsafe fn slice_of<'a>(bytes: *const c_void, count: size_t) -> &'a [u8] {
    if bytes.is_null() { &[] } else { unsafe { std::slice::from_raw_parts(bytes.cast::<u8>(), count) } }
}

fn stat(fd: c_int) -> Option<libc::stat64> {
    let mut stat = std::mem::MaybeUninit::<libc::stat64>::uninit();
    let ok = unsafe { libc::fstat64(fd, stat.as_mut_ptr()) } == 0;
    ok.then(|| unsafe { stat.assume_init() })
}

/// The file behind a descriptor where the layer knows it.
fn known(layer: &Layer, fd: c_int) -> Option<libc::stat64> {
    stat(fd).filter(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFREG && layer.disk.knows(stat.st_ino))
}

/// Opens through `open`, and notes what that changes.
fn opened(path: &Path, flags: c_int, open: impl FnOnce() -> c_int) -> c_int {
    let Some(mut layer) = layer() else { return open() };
    let writes = flags & (libc::O_CREAT | libc::O_TRUNC) != 0;
    let Some(name) = layer.within(path).filter(|_| writes) else {
        drop(layer);
        return open();
    };
    let is_new = !path.exists();
    if let Err(errno) = layer.begin(0) {
        return if is_new || flags & libc::O_TRUNC != 0 { refuse(errno) } else { open() };
    }
    let fd = open();
    if let Some(stat) = stat(fd).filter(|_| fd >= 0) {
        if is_new {
            layer.disk.made(name, Node::File(stat.st_ino));
        } else if flags & libc::O_TRUNC != 0 {
            layer.disk.resized(stat.st_ino, 0);
        }
    }
    fd
}

/// Writes through `write`, at the descriptor's own place where `at` is none, and notes what was written.
fn written(fd: c_int, at: Option<off64_t>, bytes: &[u8], write: impl FnOnce() -> ssize_t) -> ssize_t {
    let Some(mut layer) = layer() else { return write() };
    let Some(stat) = known(&layer, fd) else {
        drop(layer);
        return write();
    };
    if let Err(errno) = layer.begin(bytes.len() as u64) {
        return refuse(errno) as ssize_t;
    }
    let appends = unsafe { libc::fcntl(fd, libc::F_GETFL) } & libc::O_APPEND != 0;
    let own = || unsafe { libc::lseek64(fd, 0, libc::SEEK_CUR) };
    let at = if appends { stat.st_size } else { at.unwrap_or_else(own) };
    let count = write();
    if let Ok(count) = usize::try_from(count) {
        layer.disk.wrote(stat.st_ino, at as usize, &bytes[..count]);
    }
    count
}

fn resized(fd: c_int, length: off64_t, resize: impl FnOnce() -> c_int) -> c_int {
    let Some(mut layer) = layer() else { return resize() };
    let Some(stat) = known(&layer, fd) else {
        drop(layer);
        return resize();
    };
    if let Err(errno) = layer.begin(0) {
        return refuse(errno);
    }
    let result = resize();
    if result == 0 {
        layer.disk.resized(stat.st_ino, length as usize);
    }
    result
}

fn synced(fd: c_int, sync: impl FnOnce() -> c_int) -> c_int {
    let Some(mut layer) = layer() else { return sync() };
    let Some(stat) = stat(fd) else { return sync() };
    let is_directory = stat.st_mode & libc::S_IFMT == libc::S_IFDIR;
    let within = of_descriptor(fd).strip_prefix(&layer.plan.directory).map(Path::to_owned);
    let is_ours = (is_directory && within.is_ok()) || layer.disk.knows(stat.st_ino);
    if !is_ours {
        drop(layer);
        return sync();
    }
    if let Err(errno) = layer.begin(0) {
        return refuse(errno);
    }
    // The real sync would only cost time: what counts as synced is decided here.
    match within {
        _ if layer.plan.ignores_syncs => {}
        Ok(directory) if is_directory => layer.disk.synced_directory(&directory),
        Ok(_) | Err(_) => layer.disk.synced_file(stat.st_ino),
    }
    0
}

/// A change of names through `change`, noted by `note` where it succeeded.
fn named(
    paths: [&Path; 2],
    change: impl FnOnce() -> c_int,
    note: impl FnOnce(&mut Disk, [PathBuf; 2]),
) -> c_int {
    let Some(mut layer) = layer() else { return change() };
    let (Some(one), Some(other)) = (layer.within(paths[0]), layer.within(paths[1])) else {
        drop(layer);
        return change();
    };
    if let Err(errno) = layer.begin(0) {
        return refuse(errno);
    }
    let result = change();
    if result == 0 {
        note(&mut layer.disk, [one, other]);
    }
    result
}

// `open` and `openat` are variadic in C; on this architecture's calling convention a third or fourth argument that was not
// given is read as whatever is in its register, and handed on unread.

/// libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    let next = next!("open", fn(*const c_char, c_int, mode_t) -> c_int);
    opened(&path_of(path), flags, || unsafe { next(path, flags, mode) })
}

/// libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    let next = next!("open64", fn(*const c_char, c_int, mode_t) -> c_int);
    opened(&path_of(path), flags, || unsafe { next(path, flags, mode) })
}

/// libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn openat(directory: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    let next = next!("openat", fn(c_int, *const c_char, c_int, mode_t) -> c_int);
    opened(&path_at(directory, path), flags, || unsafe { next(directory, path, flags, mode) })
}

/// libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn openat64(
    directory: c_int,
    path: *const c_char,
    flags: c_int,
    mode: mode_t,
) -> c_int {
    let next = next!("openat64", fn(c_int, *const c_char, c_int, mode_t) -> c_int);
    opened(&path_at(directory, path), flags, || unsafe { next(directory, path, flags, mode) })
}

/// libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn write(fd: c_int, bytes: *const c_void, count: size_t) -> ssize_t {
    let next = next!("write", fn(c_int, *const c_void, size_t) -> ssize_t);
    let slice = unsafe { slice_of(bytes, count) };
    written(fd, None, slice, || unsafe { next(fd, bytes, count) })
}

/// libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwrite(fd: c_int, bytes: *const c_void, count: size_t, at: off64_t) -> ssize_t {
    let next = next!("pwrite", fn(c_int, *const c_void, size_t, off64_t) -> ssize_t);
    let slice = unsafe { slice_of(bytes, count) };
    written(fd, Some(at), slice, || unsafe { next(fd, bytes, count, at) })
}

/// libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pwrite64(fd: c_int, bytes: *const c_void, count: size_t, at: off64_t) -> ssize_t {
    let next = next!("pwrite64", fn(c_int, *const c_void, size_t, off64_t) -> ssize_t);
    let slice = unsafe { slice_of(bytes, count) };
    written(fd, Some(at), slice, || unsafe { next(fd, bytes, count, at) })
}

/// libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn writev(fd: c_int, parts: *const iovec, count: c_int) -> ssize_t {
    let next = next!("writev", fn(c_int, *const iovec, c_int) -> ssize_t);
    let slices = unsafe { std::slice::from_raw_parts(parts, usize::try_from(count).unwrap_or(0)) };
    let bytes =
        |part: &iovec| unsafe { std::slice::from_raw_parts(part.iov_base.cast::<u8>(), part.iov_len) };
    let all: Vec<u8> = slices.iter().filter(|part| part.iov_len > 0).flat_map(bytes).copied().collect();
    written(fd, None, &all, || unsafe { next(fd, parts, count) })
}

/// libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ftruncate(fd: c_int, length: off64_t) -> c_int {
    let next = next!("ftruncate", fn(c_int, off64_t) -> c_int);
    resized(fd, length, || unsafe { next(fd, length) })
}

/// libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ftruncate64(fd: c_int, length: off64_t) -> c_int {
    let next = next!("ftruncate64", fn(c_int, off64_t) -> c_int);
    resized(fd, length, || unsafe { next(fd, length) })
}

/// libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fsync(fd: c_int) -> c_int {
    let next = next!("fsync", fn(c_int) -> c_int);
    synced(fd, || unsafe { next(fd) })
}

/// libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fdatasync(fd: c_int) -> c_int {
    let next = next!("fdatasync", fn(c_int) -> c_int);
    synced(fd, || unsafe { next(fd) })
}

/// libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    let next = next!("rename", fn(*const c_char, *const c_char) -> c_int);
    let change = || unsafe { next(from, to) };
    named([&path_of(from), &path_of(to)], change, |disk, [from, to]| disk.renamed(from, to))
}

/// libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unlink(path: *const c_char) -> c_int {
    let next = next!("unlink", fn(*const c_char) -> c_int);
    let named_so = path_of(path);
    named([&named_so, &named_so], || unsafe { next(path) }, |disk, [path, _]| disk.removed(path))
}

/// libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rmdir(path: *const c_char) -> c_int {
    let next = next!("rmdir", fn(*const c_char) -> c_int);
    let named_so = path_of(path);
    named([&named_so, &named_so], || unsafe { next(path) }, |disk, [path, _]| disk.removed(path))
}

/// libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mkdir(path: *const c_char, mode: mode_t) -> c_int {
    let next = next!("mkdir", fn(*const c_char, mode_t) -> c_int);
    let named_so = path_of(path);
    let note = |disk: &mut Disk, [path, _]: [PathBuf; 2]| disk.made(path, Node::Directory);
    named([&named_so, &named_so], || unsafe { next(path, mode) }, note)
}
