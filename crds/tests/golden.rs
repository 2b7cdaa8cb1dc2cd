//! The chart ships exactly the CustomResourceDefinitions that the types describe.

use std::fs;
use std::path::Path;

#[test]
fn the_charts_copy_is_the_generated_one() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/bailiwick/files/crds");
    let crds = bailiwick_crds::custom_resource_definitions();
    for crd in &crds {
        let path = folder.join(bailiwick_crds::file_name(crd));
        let shipped = fs::read_to_string(&path).unwrap_or_default();
        let generated = bailiwick_crds::to_yaml(crd).unwrap();
        assert!(
            shipped == generated,
            "{} is stale: run `make crds` and commit the result",
            path.display()
        );
    }
    let files = fs::read_dir(&folder).unwrap().count();
    assert_eq!(
        files,
        crds.len(),
        "{} holds a file that no type describes",
        folder.display()
    );
}
