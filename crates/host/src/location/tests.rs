use super::*;

fn hook(nix_config: &str) -> HookEnvironment<'_> {
    HookEnvironment {
        nix_config: Some(nix_config),
        ..HookEnvironment::default()
    }
}

fn check(nix_config: &str, expected: &Location) {
    assert_eq!(
        Location::of_hook(&hook(nix_config)).as_ref(),
        Ok(expected),
        "{nix_config}"
    );
}

#[test]
fn a_hook_of_the_system_store_finds_it_under_every_name() {
    for config in [
        "",
        "store = \n",
        "store = auto\n",
        "store = daemon\n",
        "store = local\n",
        "cores = 1\n",
    ] {
        check(config, &Location::system());
    }
    check("store = local://\n", &Location::system());
    check(
        "store = unix:///nix/var/nix/daemon-socket/socket\n",
        &Location::system(),
    );
    assert_eq!(
        Location::of_hook(&HookEnvironment::default()),
        Ok(Location::system())
    );
}

#[test]
fn a_store_under_another_root_is_found_in_the_texts_of_old_and_new_nix() {
    let expected = Location::at_root(Path::new("/srv/b1"));
    for config in [
        "store = /srv/b1\n",
        "store = /srv/b1/\n",
        "store = local:///srv/b1\n",
        "store = local?root=/srv/b1\n",
        "store = local?root=%2Fsrv%2fb1&trusted=1\n",
        "store = local://?root=/srv/b1\n",
        "store = auto?root=/srv/b1\n",
        "store = daemon?root=/srv/b1\n",
    ] {
        check(config, &expected);
    }
    assert_eq!(
        expected.database(),
        Path::new("/srv/b1/nix/var/nix/db/db.sqlite")
    );
}

#[test]
fn a_relative_store_is_relative_to_the_working_directory() {
    let mut environment = hook("store = ./b1\n");
    assert_eq!(
        Location::of_hook(&environment),
        Err(LocationError::Path {
            path: "./b1".to_owned()
        })
    );
    environment.current_dir = Some(Path::new("/srv"));
    assert_eq!(
        Location::of_hook(&environment),
        Ok(Location::at_root(Path::new("/srv/b1")))
    );
}

#[test]
fn directories_may_be_given_one_by_one() {
    let expected = Location {
        store_dir: "/gnu/store".parse().unwrap(),
        real_dir: "/disk/store".into(),
        state_dir: "/disk/state".into(),
    };
    check(
        "store = local?store=/gnu/store&real=/disk/store&state=/disk/state",
        &expected,
    );

    let by_variables = HookEnvironment {
        nix_store_dir: Some("/gnu/store"),
        nix_state_dir: Some("/gnu/var"),
        ..hook("store = auto")
    };
    let expected = Location {
        store_dir: "/gnu/store".parse().unwrap(),
        real_dir: "/gnu/store".into(),
        state_dir: "/gnu/var".into(),
    };
    assert_eq!(Location::of_hook(&by_variables), Ok(expected));
}

#[test]
fn a_store_elsewhere_is_refused_by_name() {
    for url in [
        "ssh-ng://host",
        "https://cache.example.org",
        "file:///srv/cache",
        "dummy://",
        "s3://b",
        "x",
    ] {
        let found = Location::of_hook(&hook(&format!("store = {url}")));
        assert_eq!(
            found,
            Err(LocationError::NotLocal {
                url: url.to_owned()
            })
        );
    }
}

#[test]
fn hostile_texts_are_errors() {
    assert_eq!(
        Location::of_hook(&hook("store = /srv/../etc")),
        Err(LocationError::Path {
            path: "/srv/../etc".to_owned()
        })
    );
    for text in ["%", "%2", "%zz", "%+1", "%ff", "%ä"] {
        let found = Location::of_hook(&hook(&format!("store = local?root=/srv{text}")));
        assert_eq!(
            found,
            Err(LocationError::Percent {
                text: format!("/srv{text}")
            }),
            "{text}"
        );
    }
    let long = "/x".repeat(3000);
    assert_eq!(
        Location::of_hook(&hook(&format!("store = {long}"))),
        Err(LocationError::Path {
            path: "/x".repeat(50)
        })
    );
    assert_eq!(
        Location::of_hook(&hook("store = local?root=/a%00b")),
        Err(LocationError::Path {
            path: "/a\0b".to_owned()
        })
    );
    assert!(matches!(
        Location::of_hook(&hook("store = local?store=relative")),
        Err(LocationError::StoreDir(_))
    ));
}
