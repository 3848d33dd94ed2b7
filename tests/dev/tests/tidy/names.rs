//! Words that must not appear.

use crate::{files, root, sources};

#[test]
fn nothing_is_left_undone_or_skipped() {
    let banned = [
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("#[ign", "ore"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
    ];
    for (path, text) in sources() {
        for word in banned {
            assert!(!text.contains(word), "{word} in {}", path.display());
        }
    }
}

#[test]
fn the_project_cites_nothing_outside_of_itself() {
    let mut all = sources();
    for extension in ["md", "proto", "sql", "toml", "sh"] {
        all.extend(files(&root(), extension));
    }
    for (path, text) in all {
        assert!(!text.contains(concat!("shared/", "design")), "{}", path.display());
        assert!(!text.contains(concat!("shared/", "data")), "{}", path.display());
    }
}
