//! A first policy to begin with.

use std::fmt::Write as _;

/// Which policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// The cache of today and one independent builder; nothing changes until `mode=warn` is taken out.
    Single,
    /// An organisation's own builders, of which a majority must agree.
    Organisation,
    /// Anybody's word is in force unless another differs; what a majority says is shown.
    Audit,
}

/// The text of a first policy from lines of `builder` and `cache` without what follows their keyword, and the operator
/// of each. It is read by [`super::Policy::parse`] where the lines are good and the operators differ.
#[must_use]
pub fn first_policy(
    first: First,
    builders: &[(String, String)],
    caches: &[(String, String)],
) -> String {
    let mut text =
        String::from("# Who builds, and whose signatures count. Each `operator` has one vote.\n");
    // Writing to a `String` cannot fail.
    for (line, _) in builders {
        let _ = writeln!(text, "builder {line}");
    }
    for (line, _) in caches {
        let _ = writeln!(text, "cache {line}");
    }
    text.push_str(
        "\n# No witness is asked for yet. Name some, and a quorum of them, as soon as the logs have them.\nquorum none\n\n",
    );
    let names = |of: &[(String, String)]| {
        let names: Vec<&str> = of.iter().map(|(_, operator)| operator.as_str()).collect();
        names.join(" ")
    };
    let everybody = [builders, caches].concat();
    let rules = match first {
        First::Single => format!(
            "# In force today: what the cache signed.\nvoters today any {}\nrule today quorum=today level=path\n\n\
             # What it is to be: all of them agree. Take out `mode=warn` once `quorix policy try` shows nothing amiss.\n\
             voters independents all {}\nrule main quorum=independents level=closure mode=warn fallback=today\ndefault main\n",
            names(caches),
            names(&everybody)
        ),
        First::Organisation => {
            // More than half: two values can never both win.
            let majority = builders.len() / 2 + 1;
            format!(
                "# More than half of our builders agree, for everything that a path refers to.\nvoters ours {majority} {}\n\
                 rule main quorum=ours level=closure\ndefault main\n",
                names(builders)
            )
        }
        First::Audit => {
            let majority = everybody.len() / 2 + 1;
            format!(
                "# In force: what anybody says, as long as nobody says otherwise. Only shown: what a majority says.\nvoters anybody any {}\nrule today quorum=anybody level=path\n\
                 voters most {majority} {}\nrule audit quorum=most level=closure mode=warn fallback=today\ndefault audit\n",
                names(&everybody),
                names(&everybody)
            )
        }
    };
    text.push_str(&rules);
    text
}
