//! What the latency bench measures, as data: a row (or two) of its table each.

/// A program, and what running it bare means.
pub struct Case {
    /// The row's name.
    pub name: &'static str,
    /// As the request names it.
    pub language: &'static str,
    /// What the bare run finds it as.
    pub file: &'static str,
    /// It prints `hello`.
    pub code: &'static str,
    /// What the bare run does, one command after the other, timed together.
    pub bare: &'static [&'static [&'static str]],
    /// Ratio of p50 to reach.
    pub target: f64,
    /// What differs from one turn to the next.
    pub turn: Turn,
    /// Whether each turn waits until the pools are full again: of what takes seconds to refill.
    pub stocked: bool,
    /// What many at once are to reach.
    pub crowd: Crowd,
}

/// Ratios to reach by many requests at once, where they are measured.
#[derive(Clone, Copy)]
pub struct Crowd {
    /// Requests a second with sixteen under way, to bare starts on all cores.
    pub throughput: Option<f64>,
    /// The last answer of thirty within 100 ms, to thirty bare runs on all cores.
    pub burst: Option<f64>,
}

const ALONE: Crowd = Crowd { throughput: None, burst: None };

const GXX: &[&[&str]] = &[&["/usr/bin/g++", "-O2", "-std=gnu++20", "-o", "main", "main.cpp"], &["./main"]];

/// What differs from one turn to the next.
pub enum Turn {
    /// Nothing.
    Same,
    /// A comment at the end that begins so: nothing compiled is there already.
    Fresh(&'static str),
    /// Likewise; then the same source is asked for once more, a row of its own.
    FreshAndAgain(&'static str, Again),
}

/// The row of the second request for a source.
pub struct Again {
    /// The row's name.
    pub name: &'static str,
    /// Ratio of p50 to reach.
    pub target: f64,
    /// Against the last bare command alone (the program itself), not against all of them.
    pub against_last: bool,
}

/// All of them, in the order of the table.
pub const CASES: &[Case] = &[
    Case {
        name: "python",
        language: "python",
        file: "main.py",
        code: "print('hello')\n",
        bare: &[&["/usr/bin/python3", "main.py"]],
        target: 0.35,
        turn: Turn::Same,
        stocked: false,
        crowd: Crowd { throughput: Some(2.0), burst: Some(0.4) },
    },
    Case {
        name: "node",
        language: "javascript",
        file: "main.js",
        code: "console.log('hello')\n",
        bare: &[&["/usr/bin/node", "main.js"]],
        target: 0.35,
        turn: Turn::Same,
        stocked: false,
        crowd: ALONE,
    },
    Case {
        name: "ruby",
        language: "ruby",
        file: "main.rb",
        code: "puts 'hello'\n",
        bare: &[&["/usr/bin/ruby", "main.rb"]],
        target: 0.15,
        turn: Turn::Same,
        stocked: false,
        crowd: Crowd { throughput: Some(6.0), burst: None },
    },
    Case {
        name: "php",
        language: "php",
        file: "main.php",
        code: "<?php echo \"hello\\n\";\n",
        bare: &[&["/usr/bin/php", "main.php"]],
        target: 0.4,
        turn: Turn::Same,
        stocked: false,
        crowd: Crowd { throughput: Some(2.5), burst: None },
    },
    Case {
        name: "java, stock full",
        language: "java",
        file: "Main.java",
        code: "public class Main { public static void main(String[] args) { System.out.println(\"hello\"); } }\n",
        bare: &[&["/usr/bin/java", "Main.java"]],
        target: 0.15,
        turn: Turn::Same,
        stocked: true,
        crowd: ALONE,
    },
    // It declares what it uses: the bare compiler knows nothing of node.
    Case {
        name: "typescript, stock full",
        language: "typescript",
        file: "main.ts",
        code: "declare const console: { log(text: string): void };\nexport {};\nconsole.log(\"hello\");\n",
        bare: &[
            &["/usr/bin/tsc", "--target", "es2022", "--lib", "es2022", "--module", "commonjs", "main.ts"],
            &["/usr/bin/node", "main.js"],
        ],
        target: 0.25,
        turn: Turn::FreshAndAgain("//", Again { name: "typescript, cached, to node", target: 1.2, against_last: true }),
        stocked: true,
        crowd: ALONE,
    },
    Case {
        name: "c, compile + run",
        language: "c",
        file: "main.c",
        code: "#include <stdio.h>\nint main(void) { puts(\"hello\"); return 0; }\n",
        bare: &[&["/usr/bin/gcc", "-O2", "-o", "main", "main.c"], &["./main"]],
        target: 1.0,
        turn: Turn::FreshAndAgain("//", Again { name: "c, cached, to the binary", target: 3.0, against_last: true }),
        stocked: false,
        crowd: ALONE,
    },
    Case {
        name: "c++, five headers",
        language: "cpp",
        file: "main.cpp",
        code: include_str!("programs/five_headers.cpp"),
        bare: GXX,
        target: 0.9,
        turn: Turn::FreshAndAgain("//", Again { name: "c++, cached", target: 0.02, against_last: false }),
        stocked: false,
        crowd: ALONE,
    },
    Case {
        name: "c++, bits/stdc++.h",
        language: "cpp",
        file: "main.cpp",
        code: include_str!("programs/bits.cpp"),
        bare: GXX,
        target: 0.4,
        turn: Turn::Fresh("//"),
        stocked: false,
        crowd: ALONE,
    },
    Case {
        name: "go",
        language: "go",
        file: "main.go",
        code: "package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Println(\"hello\") }\n",
        bare: &[&["/usr/bin/go", "build", "-o", "main", "main.go"], &["./main"]],
        target: 0.6,
        turn: Turn::Fresh("//"),
        stocked: false,
        crowd: ALONE,
    },
    Case {
        name: "rust",
        language: "rust",
        file: "main.rs",
        code: "fn main() { println!(\"hello\"); }\n",
        bare: &[&["/usr/bin/rustc", "--edition=2021", "-O", "-o", "main", "main.rs"], &["./main"]],
        target: 0.9,
        turn: Turn::Fresh("//"),
        stocked: false,
        crowd: ALONE,
    },
];
