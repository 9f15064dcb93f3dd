//! Sets of languages by name.

/// A set of languages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// Its name.
    pub name: &'static str,
    /// The languages; none stands for all that Debian has packages for.
    pub languages: &'static [&'static str],
    /// What it is for.
    pub purpose: &'static str,
}

/// All of them, the smallest first.
pub const PROFILES: [Profile; 3] = [
    Profile { name: "small", languages: &["python", "c", "bash"], purpose: "a first course, on a small disk" },
    Profile {
        name: "classroom",
        languages: &["javascript", "python", "java", "cpp", "c", "ruby", "php", "bash", "perl"],
        purpose: "what is taught most",
    },
    Profile { name: "full", languages: &[], purpose: "every language with Debian packages" },
];

impl Profile {
    /// The one of this name.
    ///
    /// # Errors
    /// A text that names all of them.
    pub fn find(name: &str) -> Result<Self, String> {
        PROFILES.into_iter().find(|profile| profile.name == name).ok_or_else(|| {
            let names: Vec<&str> = PROFILES.iter().map(|profile| profile.name).collect();
            format!("there is no profile {name:?}; there are {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_name_languages_that_there_are() {
        let registry = crankcase_runtimes::Registry::load(&[]).unwrap();
        for language in PROFILES.iter().flat_map(|profile| profile.languages) {
            let runtime = registry.find(language).unwrap();
            assert_eq!(runtime.name, *language);
            assert!(!runtime.packages.is_empty(), "{language} has no Debian package");
        }
        assert!(Profile::find("classroom").is_ok());
        assert!(Profile::find("none").unwrap_err().contains("small, classroom, full"));
    }
}
