//! The gate of interpreters that run no code of their own before they look at the program (PHP, Perl).
//!
//! Preloaded, it takes the place of libc's `open` and `fopen`. The first relative name that the interpreter opens is the
//! program's: there the process waits for the spawner. Everything else is passed on.
//!
//! Compiled by the crate's build script, without the standard library: it is mapped into every such process.
#![no_std]
#![allow(non_camel_case_types)]

use core::ffi::{c_char, c_int, c_long, c_uint, c_void};
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering::Relaxed};

#[link(name = "c")]
unsafe extern "C" {
    fn read(fd: c_int, buffer: *mut c_void, length: usize) -> c_long;
    fn write(fd: c_int, buffer: *const c_void, length: usize) -> c_long;
    fn close(fd: c_int) -> c_int;
    fn fork() -> c_int;
    fn _exit(code: c_int) -> !;
    fn unsetenv(name: *const c_char) -> c_int;
    fn __errno_location() -> *mut c_int;
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
}

/// The descriptor on which gate and spawner talk.
const GATE_FD: c_int = 63;
const EINTR: c_int = 4;
const RTLD_NEXT: *mut c_void = -1_isize as *mut c_void;

static PASSED: AtomicBool = AtomicBool::new(false);

/// Runs before the interpreter's `main`: neither it nor what it starts is to see the variable.
extern "C" fn hide_preload() {
    // SAFETY: no other thread exists yet.
    unsafe { unsetenv(c"LD_PRELOAD".as_ptr()) };
}

#[used]
#[unsafe(link_section = ".init_array")]
static HIDE: extern "C" fn() = hide_preload;

/// Waits, once, at the first relative name.
///
/// # Safety
/// `path` is a C string.
unsafe fn gate(path: *const c_char) {
    // SAFETY: as the caller promises.
    let relative = !path.is_null() && unsafe { *path } as u8 != b'/';
    if !relative || PASSED.swap(true, Relaxed) {
        return;
    }
    say_ready();
    loop {
        let mut message = 0_u8;
        // SAFETY: the buffer is one byte long.
        let length = unsafe { read(GATE_FD, (&raw mut message).cast(), 1) };
        match (length, message) {
            (1, b'G') => break,
            // SAFETY: the process has one thread; the child goes on as the parent would.
            (1, b'F') => {
                if unsafe { fork() } == 0 {
                    say_ready();
                }
            }
            // SAFETY: the pointer is that of this thread.
            (-1, _) if unsafe { *__errno_location() } == EINTR => {}
            // SAFETY: ends the process.
            (0, _) => unsafe { _exit(0) },
            _ => unsafe { _exit(70) },
        }
    }
    // SAFETY: nothing else uses the gate's descriptor.
    unsafe { close(GATE_FD) };
}

fn say_ready() {
    // SAFETY: the buffer is one byte long.
    if unsafe { write(GATE_FD, b"R".as_ptr().cast(), 1) } != 1 {
        // SAFETY: ends the process.
        unsafe { _exit(70) };
    }
}

/// What libc has under the name that a function here has taken.
fn next(cache: &AtomicPtr<c_void>, name: &core::ffi::CStr) -> *mut c_void {
    let mut found = cache.load(Relaxed);
    if found.is_null() {
        // SAFETY: the name is a C string.
        found = unsafe { dlsym(RTLD_NEXT, name.as_ptr()) };
        cache.store(found, Relaxed);
    }
    found
}

/// `open(2)` is variadic, with at most one further argument; both ABIs that we build for (x86-64, AArch64) pass it in
/// the register where a third fixed one lies.
macro_rules! open {
    ($($function:ident $name:literal),*) => { $(
        /// Takes the place of libc's.
        ///
        /// # Safety
        /// As libc's.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $function(path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
            static NEXT: AtomicPtr<c_void> = AtomicPtr::new(core::ptr::null_mut());
            type Open = unsafe extern "C" fn(*const c_char, c_int, ...) -> c_int;
            // SAFETY: libc has the function, and it has this type.
            unsafe {
                gate(path);
                core::mem::transmute::<*mut c_void, Open>(next(&NEXT, $name))(path, flags, mode)
            }
        }
    )* };
}

macro_rules! fopen {
    ($($function:ident $name:literal),*) => { $(
        /// Takes the place of libc's.
        ///
        /// # Safety
        /// As libc's.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $function(path: *const c_char, mode: *const c_char) -> *mut c_void {
            static NEXT: AtomicPtr<c_void> = AtomicPtr::new(core::ptr::null_mut());
            type Fopen = unsafe extern "C" fn(*const c_char, *const c_char) -> *mut c_void;
            // SAFETY: libc has the function, and it has this type.
            unsafe {
                gate(path);
                core::mem::transmute::<*mut c_void, Fopen>(next(&NEXT, $name))(path, mode)
            }
        }
    )* };
}

open!(open c"open", open64 c"open64");
fopen!(fopen c"fopen", fopen64 c"fopen64");

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: ends the process.
    unsafe { _exit(70) }
}
