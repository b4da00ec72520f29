//! Values, ranges and which mistakes stop the start.

use super::*;

fn config(pairs: &[(&'static str, &str)]) -> (Config, Vec<Problem>) {
    let mut values = Values::new();
    for (name, value) in pairs {
        values.set_variable(name, *value);
    }
    Config::from_values(&values)
}

#[test]
fn defaults_are_those_of_the_table_and_have_no_problem() {
    let (config, problems) = config(&[]);
    assert_eq!(problems, []);
    assert_eq!(config.encoders.jpeg_quality, 75);
    assert_eq!(config.image_cache_bytes, 10_240_000);
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.cache_control, "max-age=86400");
    assert_eq!(config.filename_pattern, "_pyr_");
    assert!(config.render_threads >= 1);
    assert_eq!(config.cors, None);
    for setting in SETTINGS {
        match setting.kind {
            SettingKind::Integer(min, max) => {
                let default: i64 = setting.default.parse().unwrap();
                assert!((min..=max).contains(&default), "{}", setting.name);
            }
            SettingKind::Number(..) => assert!(setting.default.parse::<f64>().is_ok(), "{}", setting.name),
            _ => {}
        }
    }
}

#[test]
fn inherited_variables_warn_and_are_replaced_new_ones_stop_the_start() {
    let (config, problems) = config(&[
        ("JPEG_QUALITY", "150"),
        ("PNG_QUALITY", "best"),
        ("MAX_CVT", "-7"),
        ("RENDER_QUEUE", "0"),
        ("MAX_BODY_SIZE", "many"),
    ]);
    assert_eq!(
        (config.encoders.jpeg_quality, config.encoders.png_quality),
        (100, 1)
    );
    assert_eq!(config.limits.max_export_side, None);
    let severities: Vec<_> = problems.iter().map(|p| (p.name.as_str(), p.severity)).collect();
    assert_eq!(
        severities,
        [
            ("JPEG_QUALITY", Severity::Warning),
            ("PNG_QUALITY", Severity::Warning),
            ("RENDER_QUEUE", Severity::Error),
            ("MAX_BODY_SIZE", Severity::Error),
        ]
    );
    assert_eq!(
        problems[0].to_string(),
        "JPEG_QUALITY: \"150\" is not 1 to 100; 100 is used"
    );
}

#[test]
fn flags_win_and_their_mistakes_stop_the_start() {
    let mut values = Values::new();
    values.set_variable("JPEG_QUALITY", "10");
    values.set_flag("JPEG_QUALITY", "20");
    values.set_flag("PNG_QUALITY", "11");
    let (config, problems) = Config::from_values(&values);
    assert_eq!(config.encoders.jpeg_quality, 20);
    assert_eq!(
        (problems[0].name.as_str(), problems[0].severity),
        ("--png-quality", Severity::Error)
    );
}

#[test]
fn booleans_have_many_spellings() {
    for (text, expected) in [
        ("1", true),
        ("on", true),
        ("Yes", true),
        ("TRUE", true),
        ("0", false),
        ("off", false),
        ("2", true),
    ] {
        let (config, problems) = config(&[("ALLOW_UPSCALING", text)]);
        assert_eq!(
            (config.limits.allow_upscaling, problems.len()),
            (expected, 0),
            "{text}"
        );
    }
    let (config, problems) = config(&[("ALLOW_UPSCALING", "perhaps")]);
    assert!(config.limits.allow_upscaling && problems.len() == 1);
}

#[test]
fn empty_means_unset_for_numbers_and_off_for_cors() {
    let (config, problems) = config(&[("JPEG_QUALITY", ""), ("CORS", ""), ("CACHE_CONTROL", "")]);
    assert_eq!(problems, []);
    assert_eq!(config.encoders.jpeg_quality, 75);
    assert_eq!(config.cors.as_deref(), Some(""));
    assert_eq!(config.cache_control, "");
}

#[test]
fn the_documented_name_of_the_metadata_cache_wins() {
    let (config, _) = config(&[
        ("MAX_IMAGE_METADATA_CACHE_SIZE", "5"),
        ("MAX_METADATA_CACHE_SIZE", "7"),
    ]);
    assert_eq!(config.open_images, Some(5));
    let (config, _) = super::tests::config(&[("MAX_METADATA_CACHE_SIZE", "-1")]);
    assert_eq!(config.open_images, None);
}

#[test]
fn replies_depend_on_what_changes_their_bytes_alone() {
    let of_replies = |pairs: &[(&'static str, &str)]| format!("{:?}", config(pairs).0.of_replies());
    let plain = of_replies(&[]);
    for (name, value) in [
        ("RENDER_THREADS", "7"),
        ("FILESYSTEM_PREFIX", "/srv/images/"),
        ("MAX_IMAGE_CACHE_SIZE", "500"),
        ("REQUEST_TIMEOUT", "5"),
        ("MAX_CONNECTIONS", "9"),
        ("VERBOSITY", "5"),
        ("LOGFILE", "/var/log/iiphost.log"),
        ("MEMCACHED_SERVERS", "a,b"),
        ("SERVER_TIMING", "1"),
        ("ADMIN_SOCKET", "/run/iiphost/admin"),
    ] {
        assert_eq!(of_replies(&[(name, value)]), plain, "{name}");
    }
    for (name, value) in [
        ("JPEG_QUALITY", "80"),
        ("MAX_CVT", "1000"),
        ("MAX_OUTPUT_PIXELS", "1000"),
        ("COPYRIGHT", "me"),
        ("INTERPOLATION", "0"),
        ("FILESYSTEM_SUFFIX", ".tif"),
        ("IIIF_VERSION", "2"),
    ] {
        assert_ne!(of_replies(&[(name, value)]), plain, "{name}");
    }
}

#[test]
fn a_flag_wins_over_a_variable_and_a_variable_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("iiphost.toml");
    std::fs::write(
        &path,
        "jpeg_quality = 10\npng_quality = 3\nwebp_quality = 30\ncors = \"\"\nmax_cvt = \"wide\"\n",
    )
    .unwrap();
    let mut values = Values::new();
    values.read_file(&path);
    values.set_variable("JPEG_QUALITY", "20");
    values.set_variable("WEBP_QUALITY", "");
    values.set_flag("JPEG_QUALITY", "30");
    values.set_variable("AVIF_QUALITY", "");
    let (config, problems) = Config::from_values(&values);
    assert_eq!(config.encoders.jpeg_quality, 30);
    assert_eq!(config.encoders.png_quality, 3);
    assert_eq!(config.encoders.webp_quality, 30, "an empty variable is not set");
    assert_eq!(config.encoders.avif_quality, 50);
    assert_eq!(config.cors.as_deref(), Some(""), "a text may be empty");
    let told: Vec<_> = problems.iter().map(|p| (p.to_string(), p.severity)).collect();
    let expected = format!("{}:5: max_cvt: \"wide\" is not ", path.display());
    assert!(
        matches!(&told[..], [(text, Severity::Error)] if text.starts_with(&expected)),
        "{told:?}"
    );
}

#[test]
fn the_older_switch_for_profiles_counts_where_the_newer_limit_is_not_set() {
    let bytes = |pairs: &[(&'static str, &str)]| config(pairs).0.max_icc_bytes;
    assert_eq!(bytes(&[("EMBED_ICC", "0")]), 0);
    assert_eq!(bytes(&[("EMBED_ICC", "1")]), 65_536);
    assert_eq!(bytes(&[("EMBED_ICC", "0"), ("MAX_ICC", "100")]), 100);
}

#[test]
fn memcached_is_off_unless_named_and_its_times_have_bounds() {
    let (off, problems) = config(&[]);
    assert!(off.memcached.servers.is_empty() && problems.is_empty());
    assert_eq!(off.memcached.seconds, 86_400);
    for (text, seconds) in [("0", 0), ("-1", 0), ("99999999", 2_592_000), ("60", 60)] {
        assert_eq!(
            config(&[("MEMCACHED_TIMEOUT", text)]).0.memcached.seconds,
            seconds
        );
    }
    let (mixed, problems) = config(&[("MEMCACHED_SERVERS", "one, two:0,[::1]:99")]);
    let servers: Vec<_> = mixed.memcached.servers.iter().map(ToString::to_string).collect();
    assert_eq!(servers, ["one:11211", "[::1]:99"]);
    assert_eq!(problems.len(), 1);
    assert!(problems[0].severity == Severity::Warning && problems[0].message.contains("two:0"));
}

/// The table of settings as docs/settings.md has it.
fn table() -> String {
    let mut table =
        "| Variable | Flag | Meaning | Accepts | Default |\n| --- | --- | --- | --- | --- |\n".to_owned();
    for setting in SETTINGS {
        let default = match setting.default {
            "" => "none".to_owned(),
            default => format!("`{default}`"),
        };
        let mark = if setting.inherited { " ¹" } else { "" };
        table.push_str(&format!(
            "| `{}`{mark} | `--{}` | {} | {} | {default} |\n",
            setting.name,
            setting.flag(),
            setting.help.replace('|', "\\|"),
            setting.range()
        ));
    }
    table
}

#[test]
fn the_documentation_has_every_setting_as_it_is() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/settings.md");
    let text = std::fs::read_to_string(path).unwrap();
    let start = text.find("| Variable |").expect("the table");
    let end = start + text[start..].find("\n\n").expect("text behind the table") + 1;
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, [&text[..start], &table(), &text[end..]].concat()).unwrap();
        return;
    }
    assert_eq!(&text[start..end], table(), "UPDATE_GOLDEN=1 writes it anew");
}

#[test]
fn words_are_chosen_without_regard_to_case_and_others_stop_the_start() {
    let (config, problems) = config(&[
        ("OUTPUT_PROFILE", "sRGB"),
        ("OUTPUT_DEPTH", "source"),
        ("WATERMARK_BLEND", " Add "),
        ("ORIENTATION", "Apply"),
    ]);
    assert_eq!(problems, []);
    assert!(config.convert_to_srgb && config.deep_output && config.upright);
    assert_eq!(config.watermark.blend, Some(Blend::Add));
    let (config, problems) = super::tests::config(&[("OUTPUT_DEPTH", "16")]);
    assert!(!config.deep_output);
    assert_eq!(problems[0].severity, Severity::Error);
    assert_eq!(problems[0].to_string(), "OUTPUT_DEPTH: \"16\" is not 8 or source");
}
