//! `execve` with everything prepared: the process that calls it allocates nothing.

use std::convert::Infallible;
use std::ffi::{CStr, CString, c_char};

use nix::errno::Errno;
use nix::libc;

/// A path, an argument vector and an environment, ready for the kernel.
pub struct ExecImage {
    argv: Vec<CString>,
    _env: Vec<CString>,
    argv_pointers: Vec<*const c_char>,
    env_pointers: Vec<*const c_char>,
}

impl ExecImage {
    /// Prepares; `argv` must not be empty.
    #[must_use]
    pub fn new(argv: Vec<CString>, env: Vec<CString>) -> Option<Self> {
        if argv.is_empty() {
            return None;
        }
        let argv_pointers = pointers(&argv);
        let env_pointers = pointers(&env);
        Some(Self { argv, _env: env, argv_pointers, env_pointers })
    }

    /// The file to execute.
    #[must_use]
    pub fn path(&self) -> &CStr {
        &self.argv[0]
    }

    /// Replaces the process.
    ///
    /// # Errors
    /// The kernel's errno; there is no success.
    pub fn exec(&self) -> Result<Infallible, Errno> {
        // SAFETY: both arrays end with a null pointer and point into the CStrings that `self` owns and never changes.
        // nix's execve would build the arrays here, by allocating.
        unsafe { libc::execve(self.path().as_ptr(), self.argv_pointers.as_ptr(), self.env_pointers.as_ptr()) };
        Err(Errno::last())
    }
}

fn pointers(strings: &[CString]) -> Vec<*const c_char> {
    strings.iter().map(|s| s.as_ptr()).chain(std::iter::once(std::ptr::null())).collect()
}
