//! `crankcase generate`: man pages and shell completions from the command line's own definition, for the package.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::Shell;

#[derive(Debug, clap::Args)]
pub struct Options {
    /// Where to write man/ and completions/; made if missing.
    directory: PathBuf,
}

/// Shell, and the name under which its completions are found.
const COMPLETIONS: [(Shell, &str); 3] =
    [(Shell::Bash, "crankcase"), (Shell::Zsh, "_crankcase"), (Shell::Fish, "crankcase.fish")];

pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let man = options.directory.join("man");
    let completions = options.directory.join("completions");
    for directory in [&man, &completions] {
        std::fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
    }
    // One page a command, as git has it: crankcase-serve(1), crankcase-runtimes-list(1).
    clap_mangen::generate_to(super::Cli::command(), &man).context("writing man pages")?;
    for (shell, name) in COMPLETIONS {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut super::Cli::command(), "crankcase", &mut text);
        write(&completions.join(name), &text)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn write(path: &Path, text: &[u8]) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_and_every_shell_its_completions() {
        let dir = tempfile::tempdir().unwrap();
        run(&Options { directory: dir.path().to_owned() }).unwrap();
        for (page, holds) in
            [("crankcase", "doctor"), ("crankcase-serve", "config"), ("crankcase-runtimes-test", "languages")]
        {
            let text = std::fs::read_to_string(dir.path().join(format!("man/{page}.1"))).unwrap();
            assert!(text.contains(holds), "{page}: {text}");
        }
        assert!(!dir.path().join("man/crankcase-generate.1").exists());
        for (_, name) in COMPLETIONS {
            let text = std::fs::read_to_string(dir.path().join("completions").join(name)).unwrap();
            assert!(text.contains("check-config"), "{name}");
        }
    }
}
