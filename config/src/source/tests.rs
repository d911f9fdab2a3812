//! Precedence, origins, and the words of refusals.

use super::*;
use crate::{ByteSize, DEFAULT_TOML, ListenAddress};

fn load(text: &str, env: &[(&str, &str)]) -> Result<Loaded, ConfigError> {
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    load_text(Some(PathBuf::from("s.toml")), text, env, Overrides::default())
}

fn refusal(text: &str) -> String {
    load(text, &[]).unwrap_err().to_string()
}

#[test]
fn the_reference_file_equals_the_defaults() {
    assert_eq!(toml::from_str::<Config>(DEFAULT_TOML).unwrap(), Config::default());
    let keys = Document::parse(DEFAULT_TOML).unwrap().keys();
    for setting in load("", &[]).unwrap().settings() {
        let listed = keys.contains(&setting.key) || ["account", "service"].contains(&setting.key.as_str());
        assert!(listed, "{} is not in default.toml", setting.key);
    }
}

#[test]
fn every_key_of_the_reference_file_has_a_comment() {
    for line in DEFAULT_TOML.lines().filter(|line| line.contains(" = ") && !line.starts_with('#')) {
        assert!(line.contains(" # "), "{line}");
    }
}

#[test]
fn the_example_accounts_of_the_reference_file_are_accepted() {
    let mut text = String::new();
    for line in DEFAULT_TOML.lines().skip_while(|line| !line.starts_with("# [[account]]")) {
        let Some(line) = line.strip_prefix("# ") else { break };
        text += &line
            .replace("AKIA...", "AKIAALICE")
            .replace("\"...\"", "\"x\"")
            .replace("'''{ ... }'''", "'{}'");
        text.push('\n');
    }
    let text = text.replacen("access_key_id = \"x\"", "access_key_id = \"AKIAROOT\"", 1);
    let loaded = load(&text, &[]).unwrap();
    assert_eq!(loaded.config.account[0].user[0].name, "alice");
    assert_eq!(loaded.config.account[0].root.len(), 1);
}

#[test]
fn command_line_beats_environment_beats_file_beats_default() {
    let text = "data_dir = \"file\"\nsecrets_dir = \"file-s\"\n[limits]\nconnections = 5\n";
    let env = vec![
        ("SEALQ_DATA_DIR".to_owned(), "env".to_owned()),
        ("SEALQ_SECRETS_DIR".to_owned(), "env-s".to_owned()),
    ];
    let overrides = Overrides { data_dir: Some(PathBuf::from("flag")), secrets_dir: None };
    let loaded = load_text(Some(PathBuf::from("s.toml")), text, env, overrides).unwrap();
    assert_eq!(loaded.config.data_dir, Path::new("flag"));
    assert_eq!(loaded.config.secrets_dir, Path::new("env-s"));
    assert_eq!(loaded.config.limits.connections, 5);
    assert_eq!(loaded.config.limits.queue_series_max, 1000);
    assert_eq!(loaded.origins["data_dir"], Origin::CommandLine("--data-dir"));
    assert_eq!(loaded.origins["secrets_dir"], Origin::Variable("SEALQ_SECRETS_DIR".to_owned()));
    assert_eq!(loaded.origins["limits.connections"], Origin::File { path: "s.toml".into(), line: 4 });
    assert!(!loaded.origins.contains_key("limits.queue_series_max"));
}

#[test]
fn variables_take_every_kind_of_value() {
    let loaded = load(
        "",
        &[
            ("SEALQ_LISTEN__HTTPS", ""),
            ("SEALQ_LISTEN__HTTP", "0.0.0.0:80"),
            ("SEALQ_IDENTITY__REGIONS", "eu-west-1, us-east-1"),
            ("SEALQ_AUTH__REQUIRE_SIGNATURES", "false"),
            ("SEALQ_LIMITS__CONNECTIONS", "7"),
            ("SEALQ_STORAGE__SEGMENT_BYTES", "8 MiB"),
            ("SEALQ_KMS__OPENBAO__MOUNT", "t"),
            ("SEALQ_ACCOUNT", "[{ id = \"111111111111\" }]"),
        ],
    )
    .unwrap();
    assert_eq!(loaded.config.listen.https, ListenAddress::OFF);
    assert_eq!(loaded.config.identity.regions, ["eu-west-1", "us-east-1"]);
    assert!(!loaded.config.auth.require_signatures);
    assert_eq!(loaded.config.limits.connections, 7);
    assert_eq!(loaded.config.storage.segment_bytes, ByteSize::mib(8));
    assert_eq!(loaded.config.kms.openbao.mount, "t");
    assert_eq!(loaded.config.account[0].id, "111111111111");
}

#[test]
fn an_unknown_or_wrong_variable_is_named() {
    let unknown = load("", &[("SEALQ_LIMITS__CONECTIONS", "1")]).unwrap_err().to_string();
    assert!(unknown.contains("SEALQ_LIMITS__CONECTIONS") && unknown.contains("CONNECTIONS"), "{unknown}");
    let section = load("", &[("SEALQ_NOPE__X", "1")]).unwrap_err().to_string();
    assert!(section.contains("SEALQ_NOPE__X") && section.contains("LISTEN"), "{section}");
    let wrong = load("", &[("SEALQ_LIMITS__CONNECTIONS", "many")]).unwrap_err().to_string();
    assert!(wrong.contains("SEALQ_LIMITS__CONNECTIONS") && wrong.contains("whole number"), "{wrong}");
    let range = load("", &[("SEALQ_LIMITS__CONNECTIONS", "0")]).unwrap_err().to_string();
    assert!(range.contains("SEALQ_LIMITS__CONNECTIONS") && range.contains("1 to 1000000"), "{range}");
}

#[test]
fn variables_that_kubernetes_makes_are_only_reported() {
    let loaded = load("", &[("SEALQ_PORT_9324_TCP", "tcp://10.0.0.1:9324"), ("SEALQ_LOG", "info")]).unwrap();
    assert_eq!(loaded.ignored_variables, ["SEALQ_PORT_9324_TCP"]);
}

#[test]
fn a_refusal_names_file_line_key_and_what_is_allowed() {
    let unknown = refusal("[limits]\nconnections = 1\nconection = 2\n");
    assert!(unknown.contains("s.toml:3:") && unknown.contains("conection"), "{unknown}");
    assert!(unknown.contains("connections"), "{unknown}");
    let kind = refusal("[limits]\nconnections = \"many\"\n");
    assert!(kind.contains("s.toml:2:") && kind.contains("limits.connections"), "{kind}");
    let range = refusal("[auth]\nclock_skew_seconds = 0\n");
    assert!(range.contains("s.toml:2") && range.contains("auth.clock_skew_seconds"), "{range}");
    assert!(range.contains("1 to 86400"), "{range}");
    let syntax = refusal("[limits]\nconnections 1\n");
    assert!(syntax.contains("s.toml:2:"), "{syntax}");
    let variant = refusal("[storage]\nio = \"fast\"\n");
    assert!(variant.contains("s.toml:2") && variant.contains("io_uring"), "{variant}");
    let size = refusal("[storage]\nsegment_bytes = 1000\n");
    assert!(size.contains("64 MiB"), "{size}");
    let shards = refusal("[storage]\nshards = 2\n");
    assert!(shards.contains("s.toml:2") && shards.contains("only 1 for now"), "{shards}");
}

#[test]
fn a_refusal_inside_an_account_names_its_own_line() {
    let text = "[[account]]\nid = \"111111111111\"\n[[account.user]]\nname = \"a\"\n[[account.user]]\nname = \"a b\"\n";
    let error = refusal(text);
    assert!(error.contains("s.toml:6") && error.contains("account[0].user[1].name"), "{error}");
}

#[test]
fn no_refusal_and_no_listing_shows_a_secret() {
    let text = "[[account]]\nid = \"111111111111\"\n[[account.user]]\nname = \"a\"\naccess_key_id = \"K\"\n\
                secret_access_key = \"geheim1\"\n[kms.aws]\nsecret_access_key = \"geheim2\"\n";
    let loaded = load(text, &[]).unwrap();
    assert!(!format!("{loaded:?} {:?}", loaded.settings()).contains("geheim"));
    let error = refusal(&format!("{text}acces = 1\n"));
    assert!(!error.contains("geheim"), "{error}");
}

#[test]
fn secrets_inside_the_data_directory_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::os::unix::fs::symlink(&data, folder.path().join("link")).unwrap();
    for secrets in ["data", "data/secrets", "data/../data/x", "link/secrets"] {
        let overrides =
            Overrides { data_dir: Some(data.clone()), secrets_dir: Some(folder.path().join(secrets)) };
        let error = load_text(None, "", Vec::new(), overrides).unwrap_err().to_string();
        assert!(error.contains("--secrets-dir") && error.contains("inside data_dir"), "{error}");
    }
    let overrides =
        Overrides { data_dir: Some(data.clone()), secrets_dir: Some(folder.path().join("data-secrets")) };
    assert!(load_text(None, "", Vec::new(), overrides).is_ok());
    let error = load(
        &format!("data_dir = {data:?}\n[tls]\ncert_file = \"c\"\nkey_file = \"{}/k\"\n", data.display()),
        &[],
    );
    assert!(error.unwrap_err().to_string().contains("tls.key_file"));
}

#[test]
fn files_pointed_at_are_read_relative_to_the_settings_file() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("p.json"), "{\"Statement\": []}").unwrap();
    std::fs::write(folder.path().join("s.txt"), "geheim\n").unwrap();
    let file = folder.path().join("sealq.toml");
    let text = "[[account]]\nid = \"111111111111\"\n[[account.user]]\nname = \"a\"\naccess_key_id = \"K\"\n\
                secret_access_key_file = \"s.txt\"\npolicy_file = \"p.json\"\n";
    std::fs::write(&file, text).unwrap();
    let loaded = Config::load(Some(&file), std::iter::empty(), Overrides::default()).unwrap();
    let user = &loaded.config.account[0].user[0];
    assert_eq!(user.policy.as_deref(), Some("{\"Statement\": []}"));
    assert_eq!(user.secret_access_key.as_ref().unwrap().expose(), "geheim");

    std::fs::write(&file, format!("{text}policy = '{{}}'\n")).unwrap();
    let twice = loaded.reload(std::iter::empty()).unwrap_err().to_string();
    assert!(twice.contains("policy_file") && twice.contains("one of the two"), "{twice}");
    std::fs::remove_file(folder.path().join("p.json")).unwrap();
    std::fs::write(&file, text).unwrap();
    let gone = loaded.reload(std::iter::empty()).unwrap_err().to_string();
    assert!(gone.contains("p.json") && gone.contains(":7"), "{gone}");
}

#[test]
fn the_settings_file_may_be_named_by_a_variable() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.toml");
    std::fs::write(&file, "[limits]\nconnections = 9\n").unwrap();
    let env = [(FILE_VARIABLE.to_owned(), file.to_str().unwrap().to_owned())];
    let loaded = Config::load(None, env.into_iter(), Overrides::default()).unwrap();
    assert_eq!(loaded.config.limits.connections, 9);
    let missing = [(FILE_VARIABLE.to_owned(), "/nowhere/x.toml".to_owned())];
    let error = Config::load(None, missing.into_iter(), Overrides::default()).unwrap_err();
    assert!(matches!(error, ConfigError::Unreadable { .. }));
}

#[test]
fn key_services_need_tls_except_on_loopback() {
    let with = |endpoint: &str| {
        format!(
            "[kms]\nprovider = \"aws\"\n[kms.aws]\nendpoint = \"{endpoint}\"\naccess_key_id = \"K\"\nsecret_access_key = \"s\"\n"
        )
    };
    for allowed in
        ["https://kms.example.com", "http://127.0.0.1:4566", "http://[::1]:1/x", "http://localhost"]
    {
        assert!(load(&with(allowed), &[]).is_ok(), "{allowed}");
    }
    for refused in ["http://kms.example.com", "http://10.0.0.1", "kms", "http://127.0.0.1@evil.example", ""] {
        assert!(refusal(&with(refused)).contains("kms.aws.endpoint"), "{refused}");
    }
}

#[test]
fn credentials_of_the_service_manager_stand_in_for_settings_that_nobody_made() {
    let folder = tempfile::tempdir().unwrap();
    for name in [ROOT_KEY_CREDENTIAL, PASSPHRASE_CREDENTIAL] {
        std::fs::write(folder.path().join(name), "x").unwrap();
    }
    let env = [(CREDENTIALS_VARIABLE, folder.path().to_str().unwrap())];
    let loaded = load("", &env).unwrap();
    let embedded = &loaded.config.kms.embedded;
    assert_eq!(loaded.config.root_key_file(), folder.path().join("root.key"));
    assert_eq!(embedded.passphrase_file, folder.path().join("root-key-passphrase"));
    assert!(loaded.config.is_credential(&embedded.root_key_file));
    assert!(loaded.ignored_variables.is_empty());
    assert_eq!(
        loaded.origins["kms.embedded.root_key_file"],
        Origin::Variable(CREDENTIALS_VARIABLE.to_owned())
    );
    let loaded =
        load("[kms.embedded]\nroot_key_file = \"mine\"\npassphrase = \"correct horse\"\n", &env).unwrap();
    let embedded = &loaded.config.kms.embedded;
    assert_eq!(
        (embedded.root_key_file.as_path(), embedded.passphrase_file.as_path()),
        (Path::new("mine"), Path::new(""))
    );
    assert!(!loaded.config.is_credential(&embedded.root_key_file));
    std::fs::remove_file(folder.path().join("root.key")).unwrap();
    assert_eq!(load("", &env).unwrap().config.root_key_file(), Path::new("./sealq-secrets/root.key"));
}

#[test]
fn a_passphrase_is_given_once_and_never_shown() {
    let both = "[kms.embedded]\npassphrase = \"correct horse\"\npassphrase_file = \"p\"\n";
    let error = refusal(both);
    assert!(error.contains("passphrase_file") && !error.contains("correct horse"), "{error}");
    let loaded = load("", &[("SEALQ_KMS__EMBEDDED__PASSPHRASE", "correct horse")]).unwrap();
    assert_eq!(loaded.config.kms.embedded.passphrase.expose(), "correct horse");
    assert!(!format!("{:?}", loaded.settings()).contains("correct horse"));
}
