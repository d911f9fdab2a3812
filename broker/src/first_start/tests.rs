//! What the first start makes, and what it refuses.

use std::os::unix::fs::PermissionsExt;

use sealq_crypto::root_key::RootKey;

use super::root_key_file::{Protection, RootKeyFile};
use super::*;

fn config(folder: &Path) -> Config {
    Config { data_dir: folder.join("data"), secrets_dir: folder.join("deep/secrets"), ..Config::default() }
}

fn root_key(config: &Config) -> Result<RootKey, FirstStartError> {
    Ok(RootKeyFile::of(config)?.open_or_make(&config.data_dir)?.current)
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn everything_is_0600_in_a_0700_directory_and_reused_later() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let secrets = SecretsDirectory::open(&config).unwrap();
    assert_eq!(mode(secrets.path()), 0o700);
    let root_key_file = config.root_key_file();
    let key = root_key(&config).unwrap().fingerprint();
    let credentials = secrets.root_credentials().unwrap();
    let files = secrets.certificate(&[]).unwrap();
    for file in [&root_key_file, &credentials_file(secrets.path()), &files.ca, &files.server, &files.key] {
        assert_eq!(mode(file), 0o600, "{}", file.display());
    }
    assert_eq!(mode(&secrets.path().join("tls")), 0o700);
    let certificate = std::fs::read(&files.server).unwrap();

    let again = SecretsDirectory::open(&config).unwrap();
    assert_eq!(key, root_key(&config).unwrap().fingerprint());
    let credentials_again = again.root_credentials().unwrap();
    assert_eq!(credentials.access_key_id, credentials_again.access_key_id);
    assert_eq!(credentials.secret_access_key, credentials_again.secret_access_key);
    assert_eq!(again.certificate(&[]).unwrap(), files);
    assert_eq!(std::fs::read(&files.server).unwrap(), certificate);
}

#[test]
fn access_keys_have_the_form_of_amazons() {
    let folder = tempfile::tempdir().unwrap();
    let made = SecretsDirectory::open(&config(folder.path())).unwrap().root_credentials().unwrap();
    assert!(made.access_key_id.starts_with("AKIA"));
    assert_eq!(made.access_key_id.len(), 20);
    assert_eq!(made.secret_access_key.expose().len(), 40);
    assert!(!format!("{made:?}").contains(made.secret_access_key.expose()));
}

#[test]
fn a_directory_that_others_may_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    SecretsDirectory::open(&config).unwrap();
    for open in [0o755, 0o750, 0o701] {
        std::fs::set_permissions(&config.secrets_dir, std::fs::Permissions::from_mode(open)).unwrap();
        let error = SecretsDirectory::open(&config).unwrap_err();
        assert!(matches!(error, FirstStartError::OpenToOthers { mode, .. } if mode == open), "{error}");
        assert!(!error.is_about_data());
    }
}

#[test]
fn a_directory_inside_the_data_is_refused_through_links_too() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::os::unix::fs::symlink(&data, folder.path().join("link")).unwrap();
    for secrets in ["data/secrets", "link/secrets"] {
        let config =
            Config { data_dir: data.clone(), secrets_dir: folder.path().join(secrets), ..Config::default() };
        assert!(
            matches!(SecretsDirectory::open(&config), Err(FirstStartError::InsideData { .. })),
            "{secrets}"
        );
    }
}

#[test]
fn no_root_key_is_made_for_data_that_exists() {
    for segment in ["log/0001.seg", "log/0/0001.seg"] {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        SecretsDirectory::open(&config).unwrap();
        let segment = config.data_dir.join(segment);
        std::fs::create_dir_all(segment.parent().unwrap()).unwrap();
        std::fs::write(&segment, b"x").unwrap();
        let error = root_key(&config).err().unwrap();
        assert!(error.is_about_data(), "{error}");
        assert!(error.to_string().contains("root.key"), "{error}");
        assert!(!config.root_key_file().exists());
    }
}

#[test]
fn a_root_key_that_others_may_read_or_that_is_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    SecretsDirectory::open(&config).unwrap();
    std::fs::write(config.root_key_file(), [7; 32]).unwrap();
    std::fs::set_permissions(config.root_key_file(), std::fs::Permissions::from_mode(0o644)).unwrap();
    let error = root_key(&config).err().unwrap();
    assert!(matches!(error, FirstStartError::File(SecretFileError::OpenToOthers { .. })), "{error}");
    std::fs::set_permissions(config.root_key_file(), std::fs::Permissions::from_mode(0o600)).unwrap();
    let error = root_key(&config).err().unwrap();
    assert!(matches!(error, FirstStartError::RootKey { .. }) && error.is_about_data(), "{error}");
}

#[test]
fn a_missing_part_of_the_certificate_is_named_and_a_cut_attempt_is_redone() {
    let folder = tempfile::tempdir().unwrap();
    let secrets = SecretsDirectory::open(&config(folder.path())).unwrap();
    let files = secrets.certificate(&[]).unwrap();
    std::fs::remove_file(&files.ca).unwrap();
    let error = secrets.certificate(&[]).unwrap_err().to_string();
    assert!(error.contains("ca.pem"), "{error}");
    std::fs::remove_file(&files.server).unwrap();
    secrets.certificate(&[]).unwrap();
    assert!(tls::ServerTls::load(&files.server, &files.key).is_ok());
}

#[test]
fn a_damaged_authority_is_found_at_the_start_and_not_by_the_clients() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let secrets = SecretsDirectory::open(&config).unwrap();
    secrets.server_tls(&config).unwrap();
    let files = secrets.certificate(&[]).unwrap();
    let whole = std::fs::read(&files.ca).unwrap();
    for damaged in [&[][..], &vec![0; whole.len()], &whole[..whole.len() / 2]] {
        std::fs::write(&files.ca, damaged).unwrap();
        let error = secrets.server_tls(&config).err().unwrap();
        assert!(error.to_string().contains("ca.pem") && !error.is_about_data(), "{error}");
    }
    std::fs::write(&files.ca, &whole).unwrap();
    assert!(secrets.server_tls(&config).is_ok());
}

#[test]
fn only_the_default_profile_counts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("credentials");
    let text = "[other]\naws_access_key_id = A\naws_secret_access_key = B\n# x\n[default]\n\
                aws_access_key_id=C\naws_secret_access_key = D=E\n";
    secret_file::write(&path, text.as_bytes()).unwrap();
    let found = read_credentials(&path).unwrap().unwrap();
    assert_eq!((found.access_key_id.as_str(), found.secret_access_key.expose()), ("C", "D=E"));
    secret_file::write(&path, b"[other]\naws_access_key_id = A\n").unwrap();
    assert!(matches!(read_credentials(&path), Err(FirstStartError::Credentials { .. })));
}

#[test]
fn the_certificate_names_the_address_and_the_public_host() {
    let mut config = Config::default();
    config.listen.https = "10.1.2.3:9324".parse().unwrap();
    config.listen.public_url = "https://sqs.example.com:8443/x".to_owned();
    let names = certificate_names(&config);
    assert!(names.ends_with(&["10.1.2.3".to_owned(), "sqs.example.com".to_owned()]), "{names:?}");
    config.listen.https = "0.0.0.0:9324".parse().unwrap();
    config.listen.public_url = "https://[fd00::1]".to_owned();
    assert!(certificate_names(&config).ends_with(&["fd00::1".to_owned()]));
    assert!(!certificate_names(&config).contains(&"0.0.0.0".to_owned()));
}

#[test]
fn a_given_certificate_is_used_and_none_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let made = tls::make(&[]).unwrap();
    let mut config = config(folder.path());
    config.tls.cert_file = folder.path().join("c.pem");
    config.tls.key_file = folder.path().join("k.pem");
    let secrets = SecretsDirectory::open(&config).unwrap();
    assert!(matches!(secrets.server_tls(&config), Err(FirstStartError::Tls(_))));
    std::fs::write(&config.tls.cert_file, &made.server_pem).unwrap();
    std::fs::write(&config.tls.key_file, made.server_key_pem.as_bytes()).unwrap();
    secrets.server_tls(&config).unwrap();
    assert!(!secrets.path().join("tls").exists());
}

#[test]
fn a_passphrase_protects_the_root_key_from_the_first_start_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    SecretsDirectory::open(&config).unwrap();
    let passphrase = folder.path().join("passphrase");
    config.kms.embedded.passphrase_file.clone_from(&passphrase);
    assert!(matches!(root_key(&config), Err(FirstStartError::PassphraseGone { .. })));
    secret_file::write(&passphrase, b"short\n").unwrap();
    assert!(matches!(
        root_key(&config),
        Err(FirstStartError::RootKey { source: RootFileError::PassphraseShort { found: 5 }, .. })
    ));
    secret_file::write(&passphrase, b"correct horse\n").unwrap();
    let made = root_key(&config).unwrap().fingerprint();
    assert!(RootKeyFile::of(&config).unwrap().needs_passphrase().unwrap());
    secret_file::write(&passphrase, b"battery staple").unwrap();
    let error = root_key(&config).unwrap_err();
    assert!(error.is_about_data() && error.to_string().contains("wrong passphrase"), "{error}");
    config.kms.embedded.passphrase_file = PathBuf::new();
    assert!(root_key(&config).unwrap_err().to_string().contains("none was given"));
    config.kms.embedded.passphrase = Secret::new("correct horse");
    assert_eq!(root_key(&config).unwrap().fingerprint(), made);
}

#[test]
fn a_new_root_key_keeps_the_one_before_until_it_is_told_to_forget_it() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    SecretsDirectory::open(&config).unwrap();
    let old = root_key(&config).unwrap();
    let mut file = RootKeyFile::of(&config).unwrap();
    let before = std::fs::read(file.path()).unwrap();
    let passphrase = zeroize::Zeroizing::new(b"correct horse".to_vec());
    let new = file.replace(&old, Protection::Passphrase(passphrase)).unwrap();
    assert_eq!((mode(file.path()), mode(&file.previous_path())), (0o600, 0o600));
    assert!(file.needs_passphrase().unwrap());
    let opened = file.open().unwrap();
    assert_eq!(opened.current.fingerprint(), new.fingerprint());
    assert_eq!(opened.previous.unwrap().fingerprint(), old.fingerprint());
    // A crash before the new one was in its place: what lies beside belongs to a root key that never was.
    secret_file::write(file.path(), &before).unwrap();
    let opened = RootKeyFile::of(&config).unwrap().open().unwrap();
    assert_eq!(opened.current.fingerprint(), old.fingerprint());
    assert!(opened.previous.is_none());
    file.forget_previous().unwrap();
    assert!(!file.previous_path().exists());
}

#[test]
fn a_root_key_that_the_service_manager_holds_is_opened_and_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    SecretsDirectory::open(&config).unwrap();
    let made = root_key(&config).unwrap();
    let credentials = folder.path().join("credentials");
    std::fs::create_dir(&credentials).unwrap();
    let credential = credentials.join("root.key");
    std::fs::rename(config.root_key_file(), &credential).unwrap();
    std::fs::set_permissions(&credential, std::fs::Permissions::from_mode(0o440)).unwrap();
    config.kms.embedded.root_key_file.clone_from(&credential);
    assert!(matches!(root_key(&config), Err(FirstStartError::File(SecretFileError::OpenToOthers { .. }))));
    config.credentials_dir = Some(credentials);
    assert_eq!(root_key(&config).unwrap().fingerprint(), made.fingerprint());
    let refused = RootKeyFile::of(&config).unwrap().replace(&made, Protection::AsBefore).unwrap_err();
    assert!(matches!(refused, FirstStartError::RootKeyReadOnly { .. }) && !refused.is_about_data());
}
