//! The order packets come in (ISO/IEC 15444-1 B.12).

use super::Declined;
use super::layout::TileLayout;
use super::parameters::{Progression, Volume};
use crate::header::Size;

/// A precinct of a component's resolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) component: u32,
    pub(crate) resolution: u32,
    /// Its number in the resolution.
    pub(crate) precinct: u32,
}

/// Gives every packet of a volume that was not sent before: its precinct and its layer, in order. `None` stands for one
/// that was, so that somebody looks at the clock.
///
/// `sent` counts the layers sent of each precinct of the tile, and is counted on.
pub(crate) fn for_each_packet(
    layout: &TileLayout,
    size: &Size,
    volume: &Volume,
    sent: &mut [u16],
    mut give: impl FnMut(Option<(Place, u32)>) -> Result<(), Declined>,
) -> Result<(), Declined> {
    let places = places(layout, size, volume);
    let mut send = |place: Place, layer: u32| {
        let component = &layout.components[place.component as usize];
        let resolution = &component.resolutions[place.resolution as usize];
        let number = resolution.first_precinct + place.precinct;
        match sent.get_mut(number as usize) {
            Some(count) if u32::from(*count) == layer => {
                *count += 1;
                give(Some((place, layer)))
            }
            Some(_) => give(None),
            None => Err(Declined("a precinct too many")),
        }
    };
    match volume.order {
        Progression::Lrcp => {
            for layer in 0..volume.layers {
                for place in &places {
                    send(*place, layer)?;
                }
            }
        }
        Progression::Rlcp => {
            for resolution in places.chunk_by(|a, b| a.resolution == b.resolution) {
                for layer in 0..volume.layers {
                    for place in resolution {
                        send(*place, layer)?;
                    }
                }
            }
        }
        Progression::Rpcl | Progression::Pcrl | Progression::Cprl => {
            for place in &places {
                for layer in 0..volume.layers {
                    send(*place, layer)?;
                }
            }
        }
    }
    Ok(())
}

/// The precincts of a volume in its order, layers left out.
fn places(layout: &TileLayout, size: &Size, volume: &Volume) -> Vec<Place> {
    let mut places = Vec::new();
    for component in volume.components.clone() {
        let Some(own) = layout.components.get(component as usize) else {
            break;
        };
        let last = own.resolutions.len() as u32;
        for resolution in volume.resolutions.start..volume.resolutions.end.min(last) {
            let [across, down] = own.resolutions[resolution as usize].precincts;
            places.extend((0..across * down).map(|precinct| Place {
                component,
                resolution,
                precinct,
            }));
        }
    }
    let position = |place: &Place| {
        let own = &layout.components[place.component as usize];
        let power = own.resolutions.len() as u32 - 1 - place.resolution;
        let step = &size.components[place.component as usize];
        let scale = [step.dx, step.dy].map(|step| u64::from(step) << power);
        let resolution = &own.resolutions[place.resolution as usize];
        let [x, y] = resolution.position(place.precinct, scale, [layout.edges[0], layout.edges[1]]);
        (y, x)
    };
    // Stable: what the keys leave open stays by component, resolution and number.
    match volume.order {
        Progression::Lrcp | Progression::Rlcp => {
            places.sort_by_key(|place| (place.resolution, place.component))
        }
        Progression::Rpcl => {
            places.sort_by_cached_key(|place| (place.resolution, position(place), place.component))
        }
        Progression::Pcrl => {
            places.sort_by_cached_key(|place| (position(place), place.component, place.resolution))
        }
        Progression::Cprl => {
            places.sort_by_cached_key(|place| (place.component, position(place), place.resolution))
        }
    }
    places
}
