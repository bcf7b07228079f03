// node page.mjs URL CHROMIUM FOLDER: does at the page what a person does; pictures of it go to FOLDER.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

const [url, executablePath, folder] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
const page = await browser.newPage({ viewport: { width: 1280, height: 860 } });
const faults = [];
const elsewhere = [];
page.on('console', message => { if (message.type() === 'error') faults.push(message.text()); });
page.on('pageerror', error => faults.push(error.message));
page.on('request', request => { if (!/^(blob:|data:)/.test(request.url()) && !request.url().startsWith(url)) elsewhere.push(request.url()); });
const cards = count => page.waitForFunction(n => document.querySelectorAll('#gallery li').length === n, count, { timeout: 180000 });
const shot = name => page.screenshot({ path: `${folder}/${name}.png`, fullPage: true });

await page.goto(url);
await page.waitForFunction(() => document.querySelector('#model').options.length > 1);

// By keyboard alone: draw three, and see previews before they are done.
await page.fill('#count', '3');
await page.focus('#prompt');
await page.keyboard.type('red apple');
await page.keyboard.press('Control+Enter');
await page.waitForFunction(() => document.querySelector('#views img')?.src.startsWith('data:'), null, { polling: 10, timeout: 180000 });
await shot('preview');
await cards(3);

// Teacher and student side by side.
await page.fill('#count', '1');
await page.click('#compare');
await cards(5);
assert.equal(await page.locator('#views img').count(), 2);
await shot('compare');

// Cancel what would take long.
await page.selectOption('#model', 'emoji-64');
await page.fill('#steps', '150');
await page.fill('#count', '10');
await page.click('#draw');
await page.waitForFunction(() => /Step [1-9]/.test(document.querySelector('#caption').textContent), null, { timeout: 180000 });
await page.keyboard.press('Escape');
await page.waitForFunction(() => document.querySelector('#caption').textContent === 'Cancelled');
assert.equal(await page.locator('#gallery li').count(), 5);

// Settings come back; a picture is dropped, a mask painted over it.
await page.locator('#gallery .again').last().click();
await page.waitForFunction(() => document.querySelector('#count').value === '1');
assert.equal(await page.inputValue('#model'), 'emoji-64-perflow');
const bytes = [...await page.locator('#gallery img').first().screenshot()];
const dropped = await page.evaluateHandle(bytes => {
  const data = new DataTransfer();
  data.items.add(new File([new Uint8Array(bytes)], 'a.png', { type: 'image/png' }));
  return data;
}, bytes);
await page.dispatchEvent('#drop', 'drop', { dataTransfer: dropped });
await page.waitForSelector('#mask:visible');
await page.locator('#mask').scrollIntoViewIfNeeded();
const paint = () => page.evaluate(() => {
  const mask = document.querySelector('#mask');
  const { data } = mask.getContext('2d').getImageData(0, 0, mask.width, mask.height);
  return data.filter((value, i) => i % 4 === 3 && value > 127).length / mask.width / mask.height;
});
assert.equal(await paint(), 0);
const box = await page.locator('#mask').boundingBox();
await page.mouse.move(box.x + box.width * 0.3, box.y + box.height * 0.3);
await page.mouse.down();
await page.mouse.move(box.x + box.width * 0.6, box.y + box.height * 0.5, { steps: 6 });
await page.mouse.up();
const byMouse = await paint();
assert.ok(byMouse > 0.02 && byMouse < 0.5, 'painted ' + byMouse);
await page.focus('#mask');
await page.keyboard.press('ArrowRight');
await page.keyboard.press('Space');
assert.ok(await paint() > byMouse);
await shot('mask');
await page.fill('#prompt', 'green pear');
const sent = page.waitForRequest(request => request.method() === 'POST');
await page.click('#draw');
assert.match(JSON.parse((await sent).postData()).mask, /^data:image\/png/);
await cards(6);

// The settings of that one come back with its picture and its mask.
const before = await paint();
await page.click('#remove');
await page.locator('#gallery .again').first().click();
await page.waitForSelector('#mask:visible');
await page.waitForFunction(() => document.querySelector('#prompt').value === 'green pear');
assert.ok(Math.abs(await paint() - before) < 0.01);
assert.equal(await page.inputValue('#count'), '1');

for (const colorScheme of ['light', 'dark']) {
  await page.emulateMedia({ colorScheme });
  await page.evaluate(fs.readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8'));
  const found = await page.evaluate(() => axe.run());
  assert.deepEqual(found.violations.map(each => each.id + ' ' + each.nodes.map(node => node.target)), []);
  await shot(colorScheme);
}
await page.setViewportSize({ width: 390, height: 844 });
assert.ok(await page.evaluate(() => document.documentElement.scrollWidth) <= 390);
await shot('phone');
await page.emulateMedia({ colorScheme: 'light' });
await shot('phone-light');

// On a phone the settings wait folded, and what is drawn is in view.
await page.reload();
await page.waitForFunction(() => document.querySelector('#model').options.length > 1);
assert.equal(await page.locator('#steps').isVisible(), false);
await page.fill('#prompt', 'blue car');
await page.click('#draw');
await cards(1);
const stage = await page.locator('#stage').boundingBox();
assert.ok(stage.y >= 0 && stage.y < 844);
await page.screenshot({ path: `${folder}/phone-drawn.png` });
await browser.close();
assert.deepEqual(faults, []);
assert.deepEqual(elsewhere, []);
console.log('page ok');
