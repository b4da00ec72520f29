//! The table of docs/jpeg2000.md against the tests: every row that promises something names what proves it.

#[cfg(test)]
mod table {
    use std::collections::HashSet;
    use std::path::Path;

    /// Names of all test functions in a folder of sources.
    fn tests_in(folder: &Path, found: &mut HashSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                tests_in(&path, found);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let mut lines = text.lines().map(str::trim).peekable();
            while let Some(line) = lines.next() {
                let Some(next) = lines.peek().filter(|_| line == "#[test]") else {
                    continue;
                };
                let name = next.trim_start_matches("fn ").split('(').next().unwrap();
                found.insert(name.to_owned());
            }
        }
    }

    #[test]
    fn every_row_of_the_table_names_a_test_that_exists() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut tests = HashSet::new();
        tests_in(&root.join("src"), &mut tests);
        tests_in(&root.join("../codestream/src"), &mut tests);
        let table = std::fs::read_to_string(root.join("../../docs/jpeg2000.md")).unwrap();
        let rows: Vec<Vec<&str>> = table
            .lines()
            .filter(|line| line.starts_with('|') && !line.starts_with("| ---"))
            .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
            .collect();
        let mut checked = 0;
        for row in &rows {
            let last = row.last().copied().unwrap_or_default();
            // The line over each part.
            if last == "Test" {
                continue;
            }
            let named: Vec<&str> = last.split('`').skip(1).step_by(2).collect();
            assert!(!named.is_empty(), "no test named in the row of {:?}", row.first());
            for name in named {
                assert!(
                    tests.contains(name),
                    "no test {name}, named for {:?}",
                    row.first()
                );
            }
            checked += 1;
        }
        assert!(checked > 20, "{checked} rows found in docs/jpeg2000.md");
    }
}
