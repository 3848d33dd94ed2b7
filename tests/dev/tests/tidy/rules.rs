//! The business rules that a service lists in its RULES.md, each with the tests that show it.

use std::collections::{BTreeMap, BTreeSet};

use super::{files, root, sources};

/// Families of rules, and how many each has.
const FAMILIES: [(&str, u32); 26] = [
    ("ACC", 23),
    ("REG", 7),
    ("PLAN", 18),
    ("REGI", 10),
    ("MK", 5),
    ("SM", 9),
    ("WS", 16),
    ("MT", 8),
    ("IT-TS", 5),
    ("IT-LOG", 5),
    ("IT-LI", 1),
    ("IT-DF", 4),
    ("IT-NET", 1),
    ("IT-TR", 3),
    ("IT-PF", 1),
    ("IT-PV", 2),
    ("IT-SR", 2),
    ("IT-ST", 1),
    ("IT-TG", 3),
    ("IT-SMS", 1),
    ("IT-SC", 1),
    ("IT-RP", 1),
    ("IT-PL", 1),
    ("IT-DK", 1),
    ("IT-OT", 2),
    ("IT-G4", 3),
];
/// Rules that stand alone.
const OTHERS: [&str; 33] = [
    "DEC-3", "DEC-4", "DEC-5", "DEC-6", "DEC-7", "DEC-8", "DEC-9", "DEC-10", "DEC-16", "DEC-17", "DEC-19",
    "DEC-20", "DEC-73", "RO-1", "DEC-12", "DEC-13", "DEC-14", "DEC-21", "DEC-22", "DEC-42", "DEC-43",
    "DEC-44", "DEC-45", "DEC-49", "DEC-53", "DEC-63", "DEC-67", "DEC-68", "DEC-69", "DEC-70", "DEC-71",
    "DEC-72", "DEC-74",
];
fn wanted() -> BTreeSet<String> {
    let numbered =
        FAMILIES.iter().flat_map(|(family, count)| (1..=*count).map(move |n| format!("{family}-{n}")));
    numbered.chain(OTHERS.map(str::to_owned)).collect()
}

/// Every test, as "name" and as "file::name".
fn tests() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (path, text) in sources() {
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut is_test = false;
        for line in text.lines().map(str::trim) {
            if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                is_test = true;
            } else if is_test && let Some((_, rest)) = line.split_once("fn ") {
                let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                names.insert(format!("{stem}::{name}"));
                names.insert(name);
                is_test = false;
            }
        }
    }
    assert!(names.len() > 500, "{} tests", names.len());
    names
}

/// Rows of the tables: the rule, its words, its tests.
fn rows() -> Vec<(String, String, String)> {
    let lists = files(&root(), "md");
    let lists = lists.iter().filter(|(path, _)| path.ends_with("RULES.md"));
    let lines = lists.flat_map(|(_, text)| text.lines());
    let rows = lines.filter_map(|line| {
        let cells: Vec<&str> = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ").collect();
        let [rule, words, tests] = cells.as_slice() else { panic!("not three columns: {line}") };
        Some(((*rule).to_owned(), (*words).to_owned(), (*tests).to_owned()))
    });
    rows.filter(|(rule, ..)| rule != "rule" && !rule.starts_with("--")).collect()
}

#[test]
fn every_rule_is_listed_with_tests_that_exist() {
    let (wanted, known) = (wanted(), tests());
    let mut shown: BTreeMap<String, bool> = BTreeMap::new();
    for (rule, words, tests) in rows() {
        assert!(wanted.contains(&rule), "{rule} is no rule");
        assert!(words.len() > 20, "{rule} says nothing");
        let has_tests = tests != "—";
        for test in tests.split(", ").filter(|_| has_tests) {
            let name = test.strip_prefix('`').and_then(|test| test.strip_suffix('`'));
            let name = name.unwrap_or_else(|| panic!("{rule} names its tests in another way: {test}"));
            assert!(known.contains(name), "{rule} names {name}, which is no test");
        }
        *shown.entry(rule).or_default() |= has_tests;
    }
    let missing: Vec<_> = wanted.iter().filter(|rule| !shown.contains_key(*rule)).collect();
    assert!(missing.is_empty(), "in no RULES.md: {missing:?}");
    let open: Vec<&String> = shown.iter().filter(|(_, shown)| !**shown).map(|(rule, _)| rule).collect();
    assert!(open.is_empty(), "what no test shows: {open:?}");
}
