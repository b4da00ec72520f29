//! What can be told of a profile without understanding it.

/// Whether a profile describes pictures of so many color bands (ICC.1:2022, 7.2: size, data color space and
/// signature of the header; 7.3: the tag table).
///
/// # Errors
/// What is wrong.
pub fn check(icc: &[u8], color_band_count: u32) -> Result<(), String> {
    let size = icc.first_chunk::<4>().map(|b| u32::from_be_bytes(*b));
    if icc.len() < 132 || icc.get(36..40) != Some(b"acsp") {
        return Err(format!("ICC profile of {} bytes has no valid header", icc.len()));
    }
    // Sources pad profiles; one that ends early is broken.
    if size.is_none_or(|size| size as usize > icc.len()) {
        return Err(format!(
            "ICC profile says {} bytes, found {}",
            size.unwrap_or(0),
            icc.len()
        ));
    }
    check_tags(icc)?;
    let expected: &[u8] = match color_band_count {
        1 => b"GRAY",
        4 => b"CMYK",
        _ => b"RGB ",
    };
    match icc.get(16..20) {
        Some(space) if space == expected => Ok(()),
        space => Err(format!(
            "ICC profile is for {}, the picture is {}",
            String::from_utf8_lossy(space.unwrap_or_default()).trim_end(),
            String::from_utf8_lossy(expected).trim_end()
        )),
    }
}

/// Every tag lies inside the profile.
fn check_tags(icc: &[u8]) -> Result<(), String> {
    let word = |at: usize| {
        icc.get(at..at + 4)
            .and_then(|b| b.first_chunk::<4>())
            .map(|b| u32::from_be_bytes(*b))
    };
    let count = word(128).unwrap_or(0) as usize;
    for tag in 0..count {
        // Far below overflow: the table ends where the profile does.
        let entry = 132 + 12 * tag;
        let end = match (word(entry + 4), word(entry + 8)) {
            (Some(offset), Some(len)) => u64::from(offset) + u64::from(len),
            _ => return Err(format!("ICC profile of {count} tags ends in their table")),
        };
        if end > icc.len() as u64 {
            return Err(format!(
                "tag {tag} of the ICC profile ends at byte {end} of {}",
                icc.len()
            ));
        }
    }
    Ok(())
}
