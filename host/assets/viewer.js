'use strict';

const name = decodeURIComponent(location.hash.slice(1));
const title = document.getElementById('title');
const facts = document.getElementById('facts');

function fail(message) {
  const box = document.getElementById('error');
  box.textContent = message;
  box.hidden = false;
}

title.textContent = name;
document.title = `${name} – iiphost`;

const viewer = OpenSeadragon({
  id: 'view',
  tileSources: `iiif/3/${encodeURIComponent(name)}/info.json`,
  showNavigationControl: false,
  showNavigator: true,
  drawer: 'canvas',
  maxZoomPixelRatio: 4,
  visibilityRatio: 0.5,
  animationTime: 0.6,
});

// For tests and for the curious: how many tiles have come.
window.viewer = viewer;
window.tilesLoaded = 0;
viewer.addHandler('tile-loaded', () => { window.tilesLoaded += 1; });
viewer.addHandler('tile-load-failed', (event) => fail(`A tile could not be loaded: ${event.message}`));
viewer.addHandler('open-failed', (event) => fail(`The image could not be opened: ${event.message}`));
viewer.addHandler('open', () => {
  const { x, y } = viewer.world.getItemAt(0).getContentSize();
  const update = () => {
    const zoom = viewer.viewport.viewportToImageZoom(viewer.viewport.getZoom(true));
    facts.textContent = `${x} × ${y} · ${(zoom * 100).toPrecision(3)} %`;
  };
  viewer.addHandler('update-viewport', update);
  update();
});

const button = (id, action) => document.getElementById(id).addEventListener('click', action);
button('zoom-in', () => viewer.viewport.zoomBy(2));
button('zoom-out', () => viewer.viewport.zoomBy(0.5));
button('one-to-one', () => viewer.viewport.zoomTo(viewer.viewport.imageToViewportZoom(1)));
button('home', () => viewer.viewport.goHome());
button('full-screen', () => viewer.setFullScreen(!viewer.isFullPage()));
window.addEventListener('hashchange', () => location.reload());
