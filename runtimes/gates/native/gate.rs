//! The gate of interpreters that run no code of their own before they look at the program (PHP, Perl).
//!
//! Preloaded, it takes the place of libc's `open` and `fopen`. The first relative name that the interpreter opens is the
//! program's: there the process waits for the spawner. Everything else is passed on.
//!
//! PHP takes itself apart after a program's end, when all that a program can have asked for is done (`php_request_shutdown`):
//! it frees each class and function one by one, and so a fork copies three times as many pages as its program needed. The
//! kernel frees them all at once. So in such a process `php_module_shutdown` returns at once, and `exit` leaves the
//! destructors of fifty libraries alone, unless one was loaded for the program.
//!
//! Compiled by the crate's build script, without the standard library: it is mapped into every such process.
#![no_std]
#![allow(non_camel_case_types)]

use core::ffi::{c_char, c_int, c_long, c_uint, c_void};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering::Relaxed};

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
    fn dl_iterate_phdr(callback: extern "C" fn(*const Library, usize, *mut u64) -> c_int, data: *mut u64) -> c_int;
    fn fflush(stream: *mut c_void) -> c_int;
    fn mprotect(address: *mut c_void, length: usize, protection: c_int) -> c_int;
    fn getpagesize() -> c_int;
}

/// The descriptor on which gate and spawner talk.
const GATE_FD: c_int = 63;
const EINTR: c_int = 4;
const RTLD_NEXT: *mut c_void = -1_isize as *mut c_void;
const RTLD_DEFAULT: *mut c_void = core::ptr::null_mut();
const PROT_READ: c_int = 1;
const PROT_WRITE: c_int = 2;
const PROT_EXEC: c_int = 4;

/// What one instruction is at least.
#[cfg(target_arch = "x86_64")]
type Code = u8;
#[cfg(target_arch = "aarch64")]
type Code = u32;

/// A function that does nothing.
#[cfg(target_arch = "x86_64")]
const RETURN: Code = 0xc3;
#[cfg(target_arch = "aarch64")]
const RETURN: Code = 0xd65f_03c0;

/// The beginning of `struct dl_phdr_info`, see `dl_iterate_phdr(3)`.
#[repr(C)]
struct Library {
    address: usize,
    name: *const c_char,
    headers: *const c_void,
    count: u16,
    /// How many were ever loaded.
    loaded: u64,
}

static PASSED: AtomicBool = AtomicBool::new(false);
/// How many libraries had been loaded when PHP stood in its gate; none for other interpreters.
static LOADED: AtomicU64 = AtomicU64::new(0);

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
    // SAFETY: nothing runs in it before the interpreter's end.
    if unsafe { make_empty(c"php_module_shutdown") } {
        LOADED.store(loaded(), Relaxed);
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

/// How many libraries were ever loaded into this process.
fn loaded() -> u64 {
    extern "C" fn note(library: *const Library, _: usize, count: *mut u64) -> c_int {
        // SAFETY: both are what `dl_iterate_phdr` and the call below hand over. One library knows of all.
        unsafe { *count = (*library).loaded };
        1
    }
    let mut count = 0;
    // SAFETY: the pointer is good for the call.
    unsafe { dl_iterate_phdr(note, &raw mut count) };
    count
}

/// Takes the place of libc's.
///
/// # Safety
/// As libc's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn exit(status: c_int) -> ! {
    static NEXT: AtomicPtr<c_void> = AtomicPtr::new(core::ptr::null_mut());
    type Exit = unsafe extern "C" fn(c_int) -> !;
    // SAFETY: libc has the functions, with these types; without a stream `fflush` means all.
    unsafe {
        if LOADED.load(Relaxed) != 0 && LOADED.load(Relaxed) == loaded() {
            fflush(core::ptr::null_mut());
            _exit(status);
        }
        core::mem::transmute::<*mut c_void, Exit>(next(&NEXT, c"exit"))(status)
    }
}

/// Makes a function of the interpreter's that takes and returns nothing do nothing, where there is one.
///
/// # Safety
/// Nothing runs in it, and nobody misses what it did.
unsafe fn make_empty(name: &core::ffi::CStr) -> bool {
    // SAFETY: the name is a C string; a page that holds code is written to only as long as it may be, and only by the one
    // thread that there is.
    unsafe {
        let function = dlsym(RTLD_DEFAULT, name.as_ptr());
        let size = getpagesize() as usize;
        let page = function.map_addr(|address| address & !(size - 1));
        if function.is_null() || mprotect(page, size, PROT_READ | PROT_WRITE) != 0 {
            return false;
        }
        function.cast::<Code>().write_volatile(RETURN);
        // Code that cannot be run any more is the end of everything.
        if mprotect(page, size, PROT_READ | PROT_EXEC) != 0 {
            _exit(70);
        }
        #[cfg(target_arch = "aarch64")]
        core::arch::asm!("dc cvau, {0}", "dsb ish", "ic ivau, {0}", "dsb ish", "isb", in(reg) function);
        true
    }
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
