//! The colours of the style sheet: every pair that occurs has a contrast of at least 4.5 (WCAG 2, AA), in light and
//! in dark.

use std::collections::BTreeMap;

const CSS: &str = include_str!("../../../../web/assets/quorix.css");
const CONTRAST_MIN: f64 = 4.5;

const TEXTS: [&str; 7] = ["ink", "muted", "accent", "agree", "disagree", "one", "none"];
const GROUNDS: [&str; 3] = ["page", "surface", "target"];
const TINTS: [&str; 7] = [
    "letter-a",
    "letter-b",
    "letter-c",
    "letter-d",
    "letter-e",
    "letter-f",
    "letter-rest",
];

/// The custom properties in the first `:root` after `start`.
fn colours(start: &str) -> BTreeMap<&str, &str> {
    let block = CSS
        .split_once(start)
        .unwrap()
        .1
        .split_once(":root {")
        .unwrap()
        .1
        .split_once('}')
        .unwrap()
        .0;
    let properties = block
        .split(';')
        .filter_map(|line| line.trim().strip_prefix("--")?.split_once(": "));
    properties
        .filter(|(_, value)| value.starts_with('#'))
        .collect()
}

fn luminance(colour: &str) -> f64 {
    let channel = |at: usize| {
        let value = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
        if value <= 0.04045 {
            value / 12.92
        } else {
            ((value + 0.055) / 1.055).powf(2.4)
        }
    };
    0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
}

fn contrast(one: &str, other: &str) -> f64 {
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

#[test]
fn the_measure_knows_black_and_white() {
    assert!((contrast("#000000", "#ffffff") - 21.0).abs() < 1e-9);
    assert!((contrast("#767676", "#ffffff") - 4.54).abs() < 0.01);
}

#[test]
fn every_text_is_legible_on_every_ground_in_light_and_in_dark() {
    for theme in [
        "/* The whole look",
        "prefers-color-scheme: dark",
        "@media print",
    ] {
        let mut colours = colours(theme);
        if theme == "@media print" {
            let light = self::colours("/* The whole look");
            light
                .into_iter()
                .for_each(|(name, value)| _ = colours.entry(name).or_insert(value));
        }
        let pairs = TEXTS
            .iter()
            .flat_map(|text| GROUNDS.iter().map(move |ground| (*text, *ground)));
        let tints = ["ink", "agree"]
            .into_iter()
            .flat_map(|text| TINTS.iter().map(move |tint| (text, *tint)));
        let alarms = ["ink", "accent", "disagree"]
            .into_iter()
            .map(|text| (text, "alarm"));
        for (text, ground) in pairs.chain(tints).chain(alarms) {
            let found = contrast(colours[text], colours[ground]);
            assert!(
                found >= CONTRAST_MIN,
                "{theme}: {text} on {ground} has {found:.2}"
            );
        }
    }
}

#[test]
fn borders_of_fields_are_seen() {
    for theme in ["/* The whole look", "prefers-color-scheme: dark"] {
        let colours = colours(theme);
        let found = contrast(colours["field"], colours["page"]);
        assert!(found >= 3.0, "{theme}: field on page has {found:.2}");
    }
}

#[test]
fn light_and_dark_name_the_same_colours_and_all_that_are_used() {
    let (light, dark) = (
        colours("/* The whole look"),
        colours("prefers-color-scheme: dark"),
    );
    assert_eq!(
        light.keys().collect::<Vec<_>>(),
        dark.keys().collect::<Vec<_>>()
    );
    for used in CSS.split("var(--").skip(1) {
        let name = used.split(')').next().unwrap();
        assert!(
            light.contains_key(name) || matches!(name, "mono" | "gap"),
            "{name} is not defined"
        );
    }
}

#[test]
fn the_style_sheet_loads_nothing() {
    assert!(!CSS.contains("url(") && !CSS.contains("@import"));
}
