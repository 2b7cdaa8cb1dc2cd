use std::fs;
use std::path::Path;

use super::*;
use crate::policy::schema;

#[test]
fn each_folder_is_a_pack_whose_example_fits() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies");
    let folders = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = folders
        .map(|it| it.unwrap())
        .filter(|it| it.path().is_dir())
        .map(|it| it.file_name().into_string().unwrap())
        .collect();
    names.sort();
    let packs: Vec<&str> = all().iter().map(|it| it.manifest.name.as_str()).collect();
    assert_eq!(packs, names);
    for pack in all() {
        let problems = schema::check(&pack.manifest.parameters, &pack.manifest.example);
        assert_eq!(problems, [], "{}", pack.manifest.name);
    }
}

#[test]
fn what_is_not_there_is_told_with_what_is() {
    assert!(find("seccomp", "1.0.0").is_ok());
    assert!(find("sec", "1.0.0").unwrap_err().contains("seccomp"));
    let error = find("seccomp", "9.9.9").unwrap_err();
    assert!(error.contains("no version '9.9.9'; it has '1.0.0'"), "{error}");
}
