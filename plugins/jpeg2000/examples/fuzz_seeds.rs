//! Writes small codestreams in many styles, to start the fuzz targets from: `fuzz_seeds FOLDER`.

use std::error::Error;
use std::path::Path;

use iiphost_codestream::test_encoder::{PROG_ORDER, Recipe, encode};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1).ok_or("usage: fuzz_seeds FOLDER")?;
    std::fs::create_dir_all(&folder)?;
    for (number, recipe) in recipes().iter().enumerate() {
        std::fs::write(
            Path::new(&folder).join(format!("{number:02}.j2k")),
            encode(recipe),
        )?;
    }
    Ok(())
}

/// Each way of coding at least once, in pictures of a few blocks.
fn recipes() -> Vec<Recipe> {
    let base = Recipe {
        decompositions: 2,
        block: (16, 16),
        ..Recipe::new(40, 33, 1, 8)
    };
    let orders = [
        PROG_ORDER::OPJ_LRCP,
        PROG_ORDER::OPJ_RLCP,
        PROG_ORDER::OPJ_RPCL,
        PROG_ORDER::OPJ_PCRL,
        PROG_ORDER::OPJ_CPRL,
    ];
    let mut recipes: Vec<Recipe> = (0..64)
        .step_by(3)
        .map(|style| Recipe {
            style,
            irreversible: style % 2 == 0,
            layers: 1 + u32::from(style % 3),
            ..base.clone()
        })
        .collect();
    for (number, progression) in orders.into_iter().enumerate() {
        recipes.push(Recipe {
            progression,
            tile: (number % 2 == 0).then_some((24, 20)),
            precinct: Some(32),
            layers: 2,
            offset: (3, 5),
            resync: number % 2 == 1,
            packet_lengths: number % 2 == 0,
            depths: vec![8; 3],
            subsampling: vec![(1, 1), (2, 1), (2, 2)],
            ..base.clone()
        });
        recipes.push(Recipe {
            progression,
            then: Some(PROG_ORDER::OPJ_RPCL),
            layers: 2,
            depths: vec![8; 3],
            ..base.clone()
        });
    }
    recipes.push(Recipe {
        roi: Some((0, 9)),
        ..base.clone()
    });
    recipes.push(Recipe {
        signed: true,
        depths: vec![16; 4],
        ..base.clone()
    });
    recipes.push(Recipe {
        decompositions: 0,
        depths: vec![1],
        ..base
    });
    recipes
}
