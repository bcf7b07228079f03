// The page: it speaks the jobs API (/api), and keeps what was drawn until it is closed.
'use strict';

const $ = id => document.getElementById(id);
const running = new Set(); // jobs of ours that are not over
let models = [];
let start = null; // the picture to start from, as it was chosen
let painted = false;

// ---------------------------------------------------------------- asking the server

async function ask(path, options = {}) {
  const key = sessionStorage.getItem('key');
  const headers = { ...options.headers, ...(key ? { Authorization: 'Bearer ' + key } : {}) };
  const answer = await fetch(path, { ...options, headers });
  if (answer.status === 401) {
    await askForKey();
    return ask(path, options);
  }
  if (!answer.ok) {
    const said = await answer.json().catch(() => ({}));
    throw new Error(said.error?.message ?? 'The server answered ' + answer.status);
  }
  return answer;
}

function askForKey() {
  const dialog = $('keydialog');
  if (!dialog.open) dialog.showModal();
  return new Promise(done => dialog.addEventListener('close', () => {
    sessionStorage.setItem('key', $('key').value);
    done();
  }, { once: true }));
}

// The events of a job. EventSource cannot send a key, so the stream is read by hand.
async function* events(id) {
  const reader = (await ask(`/api/jobs/${id}/events`)).body.pipeThrough(new TextDecoderStream()).getReader();
  for (let text = ''; ;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    const parts = text.split('\n\n');
    text = parts.pop();
    for (const part of parts) {
      const data = part.split('\n').find(line => line.startsWith('data: '));
      if (data) yield JSON.parse(data.slice(6));
    }
  }
}

// ---------------------------------------------------------------- what there is

async function begin() {
  const known = await (await ask('/api/models')).json();
  models = known.models;
  $('model').replaceChildren(...models.map(model => new Option(model.name, model.name)));
  $('scheduler').append(...known.schedulers.map(name => new Option(name, name)));
  $('steps').max = known.limits.steps;
  $('count').max = known.limits.count;
  $('prompt').maxLength = known.limits.prompt_length;
  for (const name of known.loras) {
    const label = document.createElement('label');
    label.innerHTML = '<input type="checkbox"><span></span><input type="number" step="0.1" value="1">';
    label.children[1].textContent = name;
    label.children[2].setAttribute('aria-label', 'Weight of ' + name);
    label.dataset.lora = name;
    $('loras').append(label);
  }
  $('loras').hidden = !known.loras.length;
  $('compare').hidden = !pair();
  ownSize();
  $('server').textContent = models.length === 1 ? models[0].name : models.length + ' models';
}

// A student and the teacher that it is named after, as emoji-64-perflow and emoji-64.
function pair() {
  for (const student of models) {
    const teacher = models.find(other => student.name === other.name + '-perflow');
    if (teacher) return [teacher.name, student.name];
  }
  return null;
}

function ownSize() {
  const size = models.find(model => model.name === $('model').value)?.size;
  if (size) {
    $('width').value = $('height').value = size;
    $('width').step = $('height').step = Math.max(8, size / 8);
  }
  showStart();
}

// ---------------------------------------------------------------- drawing

function number(id) {
  return $(id).value === '' ? undefined : Number($(id).value);
}

function settings() {
  const loras = {};
  for (const label of $('loras').querySelectorAll('label')) {
    if (label.children[0].checked) loras[label.dataset.lora] = Number(label.children[2].value);
  }
  const asked = {
    prompt: $('prompt').value, negative_prompt: $('negative').value || undefined, model: $('model').value,
    steps: number('steps'), guidance: $('guidance').value || undefined, seed: number('seed'),
    width: number('width'), height: number('height'), count: number('count'),
    scheduler: $('scheduler').value || undefined, loras,
  };
  if (start) {
    asked.image = $('picture').toDataURL('image/png');
    asked.strength = Number($('strength').value);
    if (painted) asked.mask = maskOnBlack();
  }
  return asked;
}

function view(label) {
  const box = document.createElement('div');
  const image = document.createElement('img');
  image.alt = label;
  box.append(image, label);
  $('views').append(box);
  return image;
}

function show(image, source, small) {
  image.src = source;
  image.classList.toggle('small', small);
}

async function draw(all) {
  $('error').hidden = true;
  $('stage').hidden = false;
  $('stage').scrollIntoView({ block: 'nearest' }); // on a phone it is below
  $('views').replaceChildren();
  $('progress').value = 0;
  $('caption').textContent = 'Sending …';
  const parts = all.map(() => 0);
  try {
    await Promise.all(all.map((asked, i) => one(asked, part => {
      parts[i] = part;
      $('progress').value = parts.reduce((a, b) => a + b) / parts.length;
    }, all.length > 1)));
    $('caption').textContent = 'Done';
  } catch (e) {
    $('caption').textContent = e.name === 'AbortError' ? e.message : '';
    $('error').textContent = e.message;
    $('error').hidden = e.name === 'AbortError';
    $('stage').hidden = !$('error').hidden && ![...$('views').querySelectorAll('img')].some(image => image.src);
  }
}

async function one(asked, progress, named) {
  const image = view(named ? `${asked.model}, ${asked.steps} steps` : '');
  image.alt = 'Preview of ' + asked.prompt;
  image.style.setProperty('--shape', (asked.width || 1) + '/' + (asked.height || 1));
  let begun = performance.now();
  const job = await (await ask('/api/jobs', {
    method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(asked),
  })).json();
  running.add(job.id);
  $('cancel').disabled = false;
  let last = job;
  try {
    for await (const now of events(job.id)) {
      last = now;
      progress(now.progress);
      if (now.state === 'waiting') begun = performance.now(); // what it takes is the drawing
      if (now.preview) show(image, now.preview, false);
      $('caption').textContent = now.state === 'waiting'
        ? (now.before ? `Waiting, ${now.before} before this` : 'Waiting') : `Step ${now.step} of ${now.steps || '…'}`;
    }
  } finally {
    running.delete(job.id);
    $('cancel').disabled = !running.size;
  }
  if (last.state === 'cancelled') throw new DOMException('Cancelled', 'AbortError');
  if (last.error) throw new Error(last.error);
  const seconds = (performance.now() - begun) / 1000;
  for (const picture of last.pictures) {
    const url = URL.createObjectURL(await (await ask(picture.path)).blob());
    show(image, url, (asked.width || 512) < 200);
    image.alt = asked.prompt;
    card(url, asked, picture, seconds, last.notes);
  }
  if (named) image.parentNode.append(` · ${seconds.toFixed(1)} s`);
}

function card(url, asked, picture, seconds, notes) {
  const item = $('card').content.cloneNode(true).firstElementChild;
  const image = item.querySelector('img');
  show(image, url, (asked.width || 512) < 200);
  image.alt = asked.prompt;
  const link = item.querySelector('a');
  link.href = url;
  link.download = `${asked.prompt.replace(/[^\p{L}\p{N}]+/gu, '-').slice(0, 40)}-${picture.seed}.png`;
  link.setAttribute('aria-label', 'Save ' + asked.prompt);
  item.querySelector('.what').textContent = asked.prompt;
  item.querySelector('.hint').textContent =
    [`${picture.settings.steps} steps`, 'guidance ' + picture.settings.guidance, 'seed ' + picture.seed, seconds.toFixed(1) + ' s', ...notes].join(' · ');
  item.querySelector('.again').onclick = () => useAgain(asked, picture.seed);
  item.querySelector('.start').onclick = () => { setStart(image); $('from').open = true; $('from').scrollIntoView({ block: 'nearest' }); };
  $('gallery').prepend(item);
  $('empty').hidden = true;
}

async function useAgain(asked, seed) {
  $('model').value = asked.model;
  for (const [id, value] of Object.entries({
    prompt: asked.prompt, negative: asked.negative_prompt, steps: asked.steps, guidance: asked.guidance, seed,
    width: asked.width, height: asked.height, scheduler: asked.scheduler, count: 1,
  })) $(id).value = value ?? '';
  for (const label of $('loras').querySelectorAll('label')) {
    const weight = asked.loras[label.dataset.lora];
    label.children[0].checked = weight !== undefined;
    label.children[2].value = weight ?? 1;
  }
  setStart(asked.image ? await picture(asked.image) : null);
  if (asked.image) $('strength').value = $('strengthout').value = asked.strength;
  if (asked.mask) paintAs(await picture(asked.mask));
  $('prompt').focus();
  window.scrollTo({ top: 0 });
}

function cancel() {
  for (const id of running) ask('/api/jobs/' + id, { method: 'DELETE' }).catch(() => {});
}

// ---------------------------------------------------------------- from a picture

async function picture(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  return image;
}

function setStart(image) {
  start = image;
  painted = false;
  showStart();
}

async function take(file) {
  try {
    setStart(await createImageBitmap(file));
    $('from').open = true;
  } catch {
    $('error').textContent = 'That is no picture the browser can read.';
    $('error').hidden = false;
  }
}

// The picture as it is sent: in the size drawn, its middle where the shapes differ.
function showStart() {
  $('canvases').hidden = $('tools').hidden = !start;
  $('drophint').hidden = !!start;
  if (!start) return;
  const width = number('width') || 512, height = number('height') || 512;
  const from = { width: start.naturalWidth || start.width, height: start.naturalHeight || start.height };
  const scale = Math.max(width / from.width, height / from.height);
  for (const canvas of [$('picture'), $('mask')]) {
    canvas.width = width;
    canvas.height = height;
  }
  painted = false;
  const context = $('picture').getContext('2d');
  context.fillStyle = '#fff';
  context.fillRect(0, 0, width, height);
  context.drawImage(start, (width - from.width * scale) / 2, (height - from.height * scale) / 2, from.width * scale, from.height * scale);
}

// Checks are seen on any picture.
function checks(context) {
  const side = Math.max(2, Math.round(context.canvas.width / 40));
  const tile = new OffscreenCanvas(2 * side, 2 * side);
  const ink = tile.getContext('2d');
  ink.fillStyle = '#fff';
  ink.fillRect(0, 0, 2 * side, 2 * side);
  ink.fillStyle = getComputedStyle(document.documentElement).getPropertyValue('--brush');
  ink.fillRect(0, 0, side, side);
  ink.fillRect(side, side, side, side);
  return context.createPattern(tile, 'repeat');
}

// The mask of before: white where there is paint.
function paintAs(mask) {
  const context = $('mask').getContext('2d');
  const { width, height } = context.canvas;
  context.drawImage(mask, 0, 0, width, height);
  const pixels = context.getImageData(0, 0, width, height);
  for (let i = 0; i < pixels.data.length; i += 4) pixels.data[i + 3] = pixels.data[i];
  context.putImageData(pixels, 0, 0);
  context.globalCompositeOperation = 'source-in';
  context.fillStyle = checks(context);
  context.fillRect(0, 0, width, height);
  context.globalCompositeOperation = 'source-over';
  painted = true;
}

function paint(x, y) {
  const context = $('mask').getContext('2d');
  context.fillStyle = checks(context);
  context.beginPath();
  context.arc(x, y, Math.max(1, $('brush').value / 100 * $('mask').width / 2), 0, 2 * Math.PI);
  context.fill();
  painted = true;
}

function pointer(event) {
  const box = $('mask').getBoundingClientRect();
  const scale = $('mask').width / box.width;
  return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
}

function maskOnBlack() {
  const canvas = document.createElement('canvas');
  canvas.width = $('mask').width;
  canvas.height = $('mask').height;
  const context = canvas.getContext('2d');
  context.drawImage($('mask'), 0, 0);
  context.globalCompositeOperation = 'source-in';
  context.fillStyle = '#fff';
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.globalCompositeOperation = 'destination-over';
  context.fillStyle = '#000';
  context.fillRect(0, 0, canvas.width, canvas.height);
  return canvas.toDataURL('image/png');
}

const brush = { x: 0.5, y: 0.5 }; // where the keyboard's is, in parts of the picture
const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

// ---------------------------------------------------------------- what a person does

$('form').addEventListener('submit', event => { event.preventDefault(); draw([settings()]); });
$('cancel').addEventListener('click', cancel);
$('compare').addEventListener('click', () => {
  if (!$('form').reportValidity()) return;
  const [teacher, student] = pair();
  const asked = { ...settings(), count: 1, guidance: undefined, scheduler: undefined };
  asked.seed ??= Math.floor(Math.random() * 2 ** 32);
  draw([{ ...asked, model: teacher, steps: 50 }, { ...asked, model: student, steps: 4 }]);
});
document.addEventListener('keydown', event => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) $('form').requestSubmit();
  if (event.key === 'Escape' && running.size) cancel();
});
$('model').addEventListener('change', ownSize);
for (const id of ['width', 'height']) $(id).addEventListener('change', showStart);
$('strength').addEventListener('input', () => { $('strengthout').value = $('strength').value; });
$('choose').addEventListener('click', () => $('file').click());
$('file').addEventListener('change', () => { if ($('file').files[0]) take($('file').files[0]); $('file').value = ''; });
$('clearmask').addEventListener('click', showStart);
$('remove').addEventListener('click', () => setStart(null));
for (const kind of ['dragover', 'dragleave', 'drop']) {
  document.addEventListener(kind, event => {
    event.preventDefault();
    $('drop').classList.toggle('over', kind === 'dragover');
    if (kind === 'drop' && event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
  });
}
document.addEventListener('paste', event => {
  const file = [...event.clipboardData.files].find(each => each.type.startsWith('image/'));
  if (file) take(file);
});
$('mask').addEventListener('pointerdown', event => { $('mask').setPointerCapture(event.pointerId); paint(...pointer(event)); });
$('mask').addEventListener('pointermove', event => { if (event.buttons) paint(...pointer(event)); });
$('mask').addEventListener('keydown', event => {
  const way = arrows[event.key];
  if (way) {
    brush.x = Math.min(1, Math.max(0, brush.x + way[0] / 16));
    brush.y = Math.min(1, Math.max(0, brush.y + way[1] / 16));
  }
  if (way || event.key === ' ') {
    event.preventDefault();
    if (event.key === ' ' || event.shiftKey) paint(brush.x * $('mask').width, brush.y * $('mask').height);
  }
});

$('settings').open = !matchMedia('(max-width: 46rem)').matches;
begin().catch(e => { $('server').textContent = e.message; });
