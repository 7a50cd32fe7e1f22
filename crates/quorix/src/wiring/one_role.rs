//! A key signs for one thing only. Two roles with one key would each remember only what they signed themselves, and could
//! sign two histories together.

use quorix_trust::policy::Policy;

use super::keys;
use crate::config::Config;
use crate::output::Failure;

/// Public keys that sign something already, and for whom.
pub struct Taken(Vec<(String, Vec<u8>)>);

impl Taken {
    /// Those of the log, the witness and the mirror of this configuration, but not of the role that asks, such as
    /// `[mirror]`.
    ///
    /// # Errors
    /// A key cannot be read, or is of another kind.
    pub fn by_others(config: &Config, role: &str) -> Result<Self, Failure> {
        let mut taken = Vec::new();
        if let Some(log) = &config.log {
            let key = keys::log_key(&log.key, &log.origin)?;
            taken.push(("[log]".to_owned(), key.verifier().as_bytes().to_vec()));
        }
        let witness = config.witness.as_ref().map(|witness| &witness.key);
        let mirror = config.mirror.as_ref();
        let mirror = mirror.and_then(|mirror| mirror.key.as_ref());
        for (other, file) in [("[witness]", witness), ("[mirror]", mirror)] {
            if let Some(file) = file.filter(|_| other != role) {
                let key = keys::cosigner_key(file)?;
                taken.push((other.to_owned(), key.verifier().public_bytes()));
            }
        }
        Ok(Self(taken))
    }

    /// Adds the logs that are followed.
    pub fn follow(&mut self, policy: &Policy) {
        let followed = policy.builders.iter().map(|builder| {
            let whose = format!("the log {}, which is followed,", builder.origin());
            (whose, builder.key.as_bytes().to_vec())
        });
        self.0.extend(followed);
    }

    /// Refuses a key of a setting that signs something already. `kind` is that of the key that is to be made instead.
    ///
    /// # Errors
    /// Whose it is, and how to make another one.
    pub fn check(&self, setting: &str, kind: &str, public: &[u8]) -> Result<(), Failure> {
        match self.0.iter().find(|(_, other)| other == public) {
            None => Ok(()),
            Some((whose, _)) => Err(Failure::wrong(format!(
                "{setting}: that is the key of {whose} too, and a key signs for one thing only; make another one: quorix \
                 key generate --kind {kind} --name NAME FILE"
            ))),
        }
    }

    /// From now on this key signs for this setting.
    pub fn take(&mut self, setting: &str, public: Vec<u8>) {
        self.0.push((setting.to_owned(), public));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIRROR: &str = "data_dir = \"/d\"\n[mirror]\nlisten = \"127.0.0.1:2\"\n[[mirror.logs]]\nvkey = \"v\"\nurls = [\"http://v\"]\n";

    #[test]
    fn a_key_that_was_taken_for_one_setting_is_refused_for_another() {
        let mut taken = Taken::by_others(&Config::parse(MIRROR).unwrap(), "[aggregator]").unwrap();
        let (first, second) = ([1; 32], [2; 32]);
        taken.check("mirror.key", "witness", &first).unwrap();
        taken.take("aggregator.witness_key", first.to_vec());
        taken.check("aggregator.webhooks", "log", &second).unwrap();
        let refused = taken.check("aggregator.webhooks", "log", &first);
        let refused = format!("{:?}", refused.unwrap_err());
        let sentence = "aggregator.webhooks: that is the key of aggregator.witness_key too, and a key signs for one thing \
                        only; make another one: quorix key generate --kind log --name NAME FILE";
        assert!(refused.contains(sentence), "{refused}");
    }
}
