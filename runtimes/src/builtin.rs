//! The manifests inside the binary, in the order in which languages are listed.

macro_rules! manifests {
    ($($name:literal),* $(,)?) => {
        /// File name and text of each.
        pub(crate) const MANIFESTS: &[(&str, &str)] = &[
            $((concat!($name, ".toml"), include_str!(concat!("../manifests/", $name, ".toml"))),)*
        ];
    };
}

manifests![
    "javascript",
    "python",
    "java",
    "cpp",
    "c",
    "go",
    "ruby",
    "php",
    "rust",
    "swift",
    "typescript",
    "bash",
    "perl",
];
