'use strict';

// A name in a path: its slashes are part of it.
const path = (name) => encodeURIComponent(name);

const pixels = (count) => count >= 1e9 ? `${(count / 1e9).toFixed(2)} gigapixels` : `${(count / 1e6).toFixed(1)} megapixels`;

async function show() {
  const count = document.getElementById('count');
  const reply = await fetch('images.json');
  if (!reply.ok) throw new Error(`the list of images could not be read (${reply.status})`);
  const { images } = await reply.json();
  count.textContent = images.length === 0
    ? 'No images yet: put some into the folder this server was started with.'
    : `${images.length} image${images.length === 1 ? '' : 's'}`;
  const template = document.getElementById('card');
  for (const name of images) {
    const card = template.content.firstElementChild.cloneNode(true);
    card.href = `viewer.html#${path(name)}`;
    card.querySelector('.name').textContent = name;
    const picture = card.querySelector('img');
    picture.src = `iiif/3/${path(name)}/full/!480,360/0/default.jpg`;
    const facts = card.querySelector('.facts');
    picture.addEventListener('error', () => { picture.remove(); facts.textContent = 'cannot be shown'; });
    document.getElementById('gallery').append(card);
    fetch(`iiif/3/${path(name)}/info.json`)
      .then((info) => info.ok ? info.json() : Promise.reject(new Error(String(info.status))))
      .then((info) => { facts.textContent = `${info.width} × ${info.height} · ${pixels(info.width * info.height)}`; })
      .catch(() => { facts.textContent = 'cannot be shown'; });
  }
}

show().catch((error) => { document.getElementById('count').textContent = error.message; });
