//! Policies that change, or cannot be taken up, while the program runs.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

fn policy(text: &str) -> Arc<Policy> {
    Arc::new(Policy::parse(text).unwrap())
}

const BEFORE: &str = "quorum none\nrule before mode=deny\ndefault before\n";
const MIRROR: &str = "data_dir = \"/d\"\n[mirror]\nlisten = \"127.0.0.1:2\"\n[[mirror.logs]]\nvkey = \"v\"\nurls = [\"http://v\"]\n";
const AFTER: &str = "quorum none\nrule after mode=deny\ndefault after\n";

#[test]
fn an_edit_between_the_first_reading_and_the_first_look_is_not_missed() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("policy");
    for (text, is_new) in [(BEFORE, false), (AFTER, true)] {
        std::fs::write(&file, text).unwrap();
        let mut reload = Reload::default();
        let config = Config::parse(MIRROR).unwrap();
        let policies = watch(&mut reload, file.clone(), config, policy(BEFORE));
        assert_eq!(policies.has_changed().unwrap(), is_new, "{text}");
        assert_eq!(policies.borrow().text, text);
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_that_could_not_be_taken_up_is_tried_again_until_it_is() {
    let (sender, policies) = watch::channel(policy(BEFORE));
    let stop = CancellationToken::new();
    let times = Arc::new(AtomicUsize::new(0));
    let (counted, end) = (times.clone(), stop.clone());
    let take_up = move |policy: Arc<Policy>| {
        let (counted, end) = (counted.clone(), end.clone());
        async move {
            assert_eq!(policy.text, AFTER);
            let before = counted.fetch_add(1, Ordering::SeqCst);
            if before == 2 {
                // Nothing may come after it: time goes by itself here.
                let later = RETRY.saturating_mul(10);
                tokio::spawn(async move {
                    tokio::time::sleep(later).await;
                    end.cancel();
                });
            }
            before == 2
        }
    };
    sender.send_replace(policy(AFTER));
    let kept_up = keep_up(take_up, policies, stop);
    let kept_up = tokio::time::timeout(RETRY.saturating_mul(100), kept_up).await;
    kept_up.unwrap().unwrap();
    assert_eq!(times.load(Ordering::SeqCst), 3);
}
