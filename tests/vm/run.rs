//! `vm [--cold] [--small] [--share DIRECTORY] SCRIPT`: runs a script as root in the virtual machine of the tests.
//!
//! The directory's files lie in `/share`. Nothing of what it does is kept.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use crankcase_tests::vm::{Guest, Size};

/// As long as one has patience.
const TIME: Duration = Duration::from_secs(3600);

fn main() -> ExitCode {
    let (mut cold, mut size, mut share, mut script) = (false, Size::USUAL, None, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--cold" => cold = true,
            "--small" => (cold, size) = (true, Size::SMALL),
            "--share" => share = arguments.next().map(PathBuf::from),
            _ => script = Some(argument),
        }
    }
    let Some(script) = script else {
        eprintln!("usage: vm [--cold] [--small] [--share DIRECTORY] SCRIPT");
        return ExitCode::from(2);
    };
    let mut guest = if cold { Guest::boot(size, share.as_deref()) } else { Guest::resume(share.as_deref()) };
    let (ready, boot) = guest.boot_times();
    eprintln!("ready after {ready:.1?} (booted in {boot:.1?}, state {})", guest.state());
    let output = guest.run_within(TIME, &script);
    print!("{}", output.stdout);
    eprint!("{}", output.stderr);
    u8::try_from(output.status).map_or(ExitCode::FAILURE, ExitCode::from)
}
