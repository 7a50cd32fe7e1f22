//! Who may be whose witness, from configuration files and keys as an operator has them.

use std::fs;
use std::path::Path;

use quorix_tlog::cosignature::{Algorithm, CosignerSigningKey};

use super::*;

const ORIGIN: &str = "logs.example.org/alice";

struct Machine {
    dir: tempfile::TempDir,
    log: SigningKey,
    witness: CosignerSigningKey,
}

fn cosigner(name: &str, algorithm: Algorithm, seed: u8) -> CosignerSigningKey {
    CosignerSigningKey::from_seed(name.parse().unwrap(), algorithm, [seed; 32])
}

impl Machine {
    fn new() -> Self {
        let machine = Self {
            dir: tempfile::tempdir().unwrap(),
            log: SigningKey::from_seed(ORIGIN.parse().unwrap(), [1; 32]),
            witness: cosigner("alice/witness", Algorithm::Ed25519, 2),
        };
        machine.write("log.key", &machine.log.to_text());
        machine.write("witness.key", &machine.witness.to_text());
        let quantum = cosigner(ORIGIN, Algorithm::MlDsa44, 3);
        machine.write("pq.key", &quantum.to_text());
        machine
    }

    fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.dir().join(name), format!("{text}\n")).unwrap();
    }

    /// The configuration with these lines in `[log]` and these logs to witness.
    fn config(&self, log: &str, witnessed: &str) -> Config {
        let dir = self.dir().display();
        let text = format!(
            "data_dir = \"{dir}\"\n[log]\norigin = \"{ORIGIN}\"\nkey = \"{dir}/log.key\"\n\
             listen = {{ submit = \"unix:{dir}/s\", public = \"127.0.0.1:1\" }}\n{log}\n\
             [witness]\nkey = \"{dir}/witness.key\"\nlogs = [\"{witnessed}\"]\n"
        );
        Config::parse(&text).unwrap()
    }

    fn of_log(&self, log: &str) -> Result<Option<WitnessesConfig>, String> {
        let config = self.config(log, &bob().verifier().to_string());
        let section = config.log.as_ref().unwrap();
        of_log_config(&config, section, &self.log).map_err(|failure| format!("{failure:?}"))
    }

    fn witness(&self, logs: &str) -> Result<WitnessConfig, String> {
        let parsed = self.config("", logs);
        let section = parsed.witness.as_ref().unwrap();
        config(&parsed, section).map_err(|failure| format!("{failure:?}"))
    }
}

fn bob() -> SigningKey {
    SigningKey::from_seed("logs.example.org/bob".parse().unwrap(), [9; 32])
}

#[test]
fn two_lines_make_a_witness() {
    let machine = Machine::new();
    let config = machine.witness(&bob().verifier().to_string()).unwrap();
    assert_eq!(config.keys.len(), 1);
    assert_eq!(config.logs, [bob().verifier().clone().into()]);
    assert_eq!(config.per_minute, 60);
    let parsed = machine.config("", &bob().verifier().to_string());
    assert_eq!(parsed.witness.unwrap().listen.to_string(), "0.0.0.0:8486");
}

#[test]
fn a_witness_never_counts_for_the_log_of_its_own_operator() {
    let machine = Machine::new();
    for own in [
        machine.log.verifier().clone(),
        // By its key under another name, and by its name under another key.
        machine
            .log
            .verifier()
            .renamed("another.example".parse().unwrap()),
        bob().verifier().renamed(ORIGIN.parse().unwrap()),
    ] {
        let refused = machine.witness(&own.to_string()).err().unwrap();
        assert!(
            refused.contains(
                "is the log of this same configuration, and nobody vouches for themselves"
            ),
            "{refused}"
        );
    }
    let policy = format!(
        "witness me {} http://w\nquorum me\n",
        machine.witness.verifier()
    );
    machine.write("policy", policy.trim_end());
    let file = format!("witness_policy = \"{}/policy\"", machine.dir().display());
    let refused = machine.of_log(&file).err().unwrap();
    assert!(
        refused.contains("`me` on line 1 is the witness of this same configuration"),
        "{refused}"
    );
    let other = cosigner("bob/witness", Algorithm::Ed25519, 8);
    let policy = format!("witness bob {} http://w\nquorum bob", other.verifier());
    machine.write("policy", &policy);
    let config = machine.of_log(&file).unwrap().unwrap();
    assert_eq!(config.policy.witnesses.len(), 1);
    assert_eq!(config.log_keys.len(), 1);
}

#[test]
fn a_log_without_witnesses_asks_nobody_and_with_a_second_key_only_signs_with_it() {
    let machine = Machine::new();
    assert!(machine.of_log("").unwrap().is_none());
    let file = format!("pq_key = \"{}/pq.key\"", machine.dir().display());
    let config = machine.of_log(&file).unwrap().unwrap();
    assert_eq!(config.policy, TlogPolicy::nobody());
    assert_eq!(config.log_keys.len(), 2);
    // A key of another kind is not taken for one.
    let wrong = format!("pq_key = \"{}/witness.key\"", machine.dir().display());
    let refused = machine.of_log(&wrong).err().unwrap();
    assert!(
        refused.contains("a key of kind witness-pq is needed"),
        "{refused}"
    );
}

#[test]
fn what_is_wrong_with_a_key_or_policy_is_said_with_its_place() {
    let machine = Machine::new();
    let refused = machine.witness("nonsense").err().unwrap();
    assert!(
        refused.contains("witness.logs: `nonsense`: not a verifier key"),
        "{refused}"
    );
    machine.write("policy", "quorum w");
    let file = format!("witness_policy = \"{}/policy\"", machine.dir().display());
    let refused = machine.of_log(&file).err().unwrap();
    assert!(
        refused.contains("witness policy line 1, column 8: `w` is not defined on a line above"),
        "{refused}"
    );
}

#[test]
fn a_mirror_has_a_key_that_no_other_role_has() {
    let machine = Machine::new();
    let other = cosigner("alice/mirror", Algorithm::Ed25519, 4);
    machine.write("mirror.key", &other.to_text());
    // The witness's bytes under another name, and the log's.
    let renamed = cosigner("alice/mirror", Algorithm::Ed25519, 2);
    machine.write("renamed.key", &renamed.to_text());
    let of_the_log = cosigner("alice/mirror", Algorithm::Ed25519, 1);
    machine.write("of-the-log.key", &of_the_log.to_text());
    let refused = |file: &str| {
        let mut config = machine.config("", &bob().verifier().to_string());
        let dir = machine.dir().display();
        let text = format!(
            "data_dir = \"{dir}\"\n[mirror]\nkey = \"{dir}/{file}\"\nlisten = \"127.0.0.1:2\"\n\
             [[mirror.logs]]\nvkey = \"{}\"\nurls = [\"http://bob\"]\n",
            bob().verifier()
        );
        config.mirror = Config::parse(&text).unwrap().mirror;
        let section = config.mirror.clone().unwrap();
        let key = crate::wiring::mirror::key(&config, &section);
        key.err().map(|failure| format!("{failure:?}"))
    };
    assert_eq!(refused("mirror.key"), None);
    for (file, role) in [
        ("witness.key", "[witness]"),
        ("renamed.key", "[witness]"),
        ("of-the-log.key", "[log]"),
    ] {
        let refused = refused(file).unwrap();
        let sentence = format!("mirror.key: that is the key of {role} too");
        assert!(refused.contains(&sentence), "{refused}");
    }
}
