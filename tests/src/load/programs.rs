//! The programs that the load consists of. Each prints a token of its own, so that an answer cannot be somebody else's.

/// A program, what it must print, and whether it is one that behaves.
#[derive(Debug, Clone)]
pub struct Program {
    /// The language's name.
    pub language: &'static str,
    /// Its source.
    pub code: String,
    /// Its standard input.
    pub stdin: String,
    /// What its standard output must be; none for a program that a limit ends.
    pub stdout: Option<String>,
    /// A wall time limit of its own, in milliseconds.
    pub time_limit: Option<u64>,
}

impl Program {
    fn benign(language: &'static str, code: String, stdout: String) -> Self {
        Self { language, code, stdin: String::new(), stdout: Some(stdout), time_limit: None }
    }

    fn hostile(language: &'static str, code: &str, time_limit: u64) -> Self {
        Self { language, code: code.to_owned(), stdin: String::new(), stdout: None, time_limit: Some(time_limit) }
    }

    /// Python's hello.
    #[must_use]
    pub fn hello(token: &str) -> Self {
        Self::benign("python", format!("print('hello {token}')\n"), format!("hello {token}\n"))
    }

    /// Uses so many milliseconds of CPU.
    #[must_use]
    pub fn busy(token: &str, cpu_ms: u64) -> Self {
        let code = format!(
            "import time\nend = time.process_time() + {cpu_ms} / 1000\nwhile time.process_time() < end: pass\nprint('{token}')\n"
        );
        Self::benign("python", code, format!("{token}\n"))
    }

    /// Sleeps for so many milliseconds.
    #[must_use]
    pub fn sleeper(token: &str, ms: u64) -> Self {
        let code = format!("import time\ntime.sleep({ms} / 1000)\nprint('{token}')\n");
        Self::benign("python", code, format!("{token}\n"))
    }

    /// Takes memory without end; its limit ends it.
    #[must_use]
    pub fn memory_hog() -> Self {
        let code = "blocks = []\nwhile True: blocks.append(bytearray(b'x') * (1 << 20))\n";
        Self::hostile("python", code, 10_000)
    }

    /// One of what students run, the `n`-th of the mix.
    #[must_use]
    pub fn of_a_class(n: usize, token: &str) -> Self {
        match n % 10 {
            0..=4 => Self::hello(token),
            5 => {
                let code = format!(
                    "const lines = require('fs').readFileSync(0, 'utf8').trim();\nconsole.log(`{token} ${{lines}}`);\n"
                );
                Self { stdin: "given\n".to_owned(), ..Self::benign("javascript", code, format!("{token} given\n")) }
            }
            6 => {
                let code = format!("#include <stdio.h>\nint main(void) {{ puts(\"{token}\"); return 0; }}\n");
                Self::benign("c", code, format!("{token}\n"))
            }
            7 => Self::busy(token, 40),
            8 => {
                let code =
                    format!("with open('note.txt', 'w') as f: f.write('{token}')\nprint(open('note.txt').read())\n");
                Self::benign("python", code, format!("{token}\n"))
            }
            _ => Self::benign("bash", format!("read -r word; echo \"{token} $word\"\n"), format!("{token} given\n"))
                .with_stdin("given\n"),
        }
    }

    /// One of what attackers try, the `n`-th of the mix.
    #[must_use]
    pub fn of_an_attacker(n: usize) -> Self {
        match n % 8 {
            0 => Self::hostile("python", "import os\nwhile True: os.fork()\n", 1500),
            1 => Self::memory_hog(),
            2 => Self::hostile("bash", "yes\n", 3000),
            3 => Self::hostile("python", "while True: pass\n", 1000),
            4 => Self::hostile("python", "f = open('/box/f', 'wb')\nwhile True: f.write(b'x' * 65536)\n", 3000),
            5 => Self::hostile(
                "python",
                "import os, signal, time\nfor n in range(1, 32):\n    try: signal.signal(n, signal.SIG_IGN)\n    except OSError: pass\nif os.fork() == 0: os.setsid()\ntime.sleep(60)\n",
                700,
            ),
            6 => Self::hostile(
                "python",
                "import os\nn = 0\nwhile True:\n    os.close(os.open(f'/box/{n}', os.O_CREAT | os.O_WRONLY)); n += 1\n",
                2000,
            ),
            _ => Self::hostile("python", "import os\nos.kill(-1, 9)\nos.kill(os.getpid(), 11)\n", 2000),
        }
    }

    fn with_stdin(mut self, text: &str) -> Self {
        self.stdin = text.to_owned();
        self
    }
}
