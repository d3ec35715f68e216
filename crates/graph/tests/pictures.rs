//! The pictures in the documentation are what the examples' definitions look like now; `UPDATE_EXPECT=1` draws them again.

use std::path::Path;

use graph::{Chart, Theme};

/// Definitions with a picture. That of the log workflow is written in YAML; the end-to-end tests look at its picture.
const EXAMPLES: &[&str] = &["order/workflow.asl.json"];

#[test]
fn the_pictures_of_the_examples_are_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for example in EXAMPLES {
        let file = root.join("examples").join(example);
        let text = std::fs::read_to_string(&file).expect("the definition");
        let definition = serde_json::from_str(&text).expect("JSON");
        let chart = Chart::read(&definition).expect("a chart");
        let drawn = graph::svg(&chart.draw().expect("a drawing"), None, Theme::Auto);
        let name = example.split('/').next().unwrap_or_default();
        let picture = root.join(format!("docs/pictures/{name}.svg"));
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            std::fs::create_dir_all(root.join("docs/pictures")).expect("a folder");
            std::fs::write(&picture, &drawn).expect("the picture");
        }
        let kept = std::fs::read_to_string(&picture).unwrap_or_default();
        assert!(kept == drawn, "{} is not current; UPDATE_EXPECT=1 draws it again", picture.display());
    }
}
