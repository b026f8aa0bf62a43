// Val images with ground truth and detections of two runs, those first on which the two disagree most.

const RIGHT = 0, WRONG = 1;
const KEY = [["right", "right"], ["wrong", "wrong"], ["missed", "missed ground truth"], ["there", "ground truth that was found"]];

function showImages() {
  const {images, reason} = content.gallery;
  const ours = content.configuration.length > 0;
  if (!present("images", images.length > 0 || ours)) return;
  byId("images-without").textContent = images.length ? "" : `No images: ${reason}.`;
  byId("viewer").hidden = !images.length;
  if (!images.length) return;
  const left = pictured().length < state.pair.filter(Boolean).length;
  if (left) byId("images-without").textContent = `Images are kept for ${content.gallery.arms.join(", ")} alone.`;
  state.threshold ??= content.gallery.score;
  byId("threshold").value = state.threshold;
  byId("truth").checked = state.truth;
  byId("labels").checked = state.labels;
  byId("key").replaceChildren(...KEY.map(([look, text]) => element("span", {}, keySample(look), text)));
  showStrip();
  showImage();
  byId("images-about").textContent =
    `The ${images.length} images on which ${content.gallery.arms.join(", ")} differ most at a score of ` +
    `${metricText(content.gallery.score, 2)}; first those where the two runs above do, by F1. ` +
    `A detection is right that has the class of a ground truth box and an IoU of at least ${metricText(content.gallery.iou, 1)} with it; each box counts once. ` +
    "F1 is twice the right ones over detections and ground truth together.";
}

// The chosen runs whose detections are in the page.
function pictured() {
  return state.pair.filter((name) => content.gallery.arms.includes(name));
}

// What a run got right, wrong and missed in an image, at the chosen score.
function judged(image, name) {
  const found = (image.found[name] ?? []).filter((box) => box[5] >= state.threshold);
  const right = found.filter((box) => box[6] === RIGHT);
  const wrong = found.filter((box) => box[6] === WRONG);
  const taken = new Set(right.map((box) => box[7]));
  const there = image.truth.filter((box) => !box[5]);
  const missed = image.truth.filter((box, place) => !box[5] && !taken.has(place));
  const either = right.length + wrong.length + there.length;
  return {right, wrong, missed, taken, f1: either ? (2 * right.length) / either : 1};
}

function ordered() {
  const names = pictured();
  const weight = (image) => {
    const scores = names.map((name) => judged(image, name).f1);
    return names.length > 1 ? Math.abs(scores[0] - scores[1]) : 1 - (scores[0] ?? 1);
  };
  const weighed = content.gallery.images.map((image) => [weight(image), image]);
  return weighed.sort((a, b) => b[0] - a[0]).map(([, image]) => image);
}

function showStrip() {
  const images = ordered();
  if (!images.some((image) => image.name === state.image)) state.image = images[0].name;
  const focused = byId("strip").contains(document.activeElement);
  byId("strip").replaceChildren(...images.map((image) => {
    const picture = element("img", {src: image.uri, alt: "", decoding: "async"});
    const click = () => chooseImage(image.name);
    return element("li", {}, element("button", {type: "button", click, "data-image": image.name, "aria-label": image.name}, picture));
  }));
  if (focused) byId("strip").querySelector(`[data-image="${CSS.escape(state.image)}"]`).focus();
}

function chooseImage(name) {
  state.image = name;
  remember();
  showImage();
}

function step(by) {
  const names = [...byId("strip").querySelectorAll("button")].map((button) => button.dataset.image);
  const place = names.indexOf(state.image) + by;
  if (place >= 0 && place < names.length) chooseImage(names[place]);
}

function showImage() {
  const buttons = [...byId("strip").querySelectorAll("button")];
  for (const button of buttons) button.toggleAttribute("aria-current", button.dataset.image === state.image);
  const current = buttons.findIndex((button) => button.dataset.image === state.image);
  const strip = byId("strip");
  strip.scrollLeft = buttons[current].offsetLeft - strip.clientWidth / 2;
  byId("place").textContent = `${current + 1} of ${buttons.length}`;
  byId("previous").disabled = current === 0;
  byId("next").disabled = current === buttons.length - 1;
  byId("threshold-value").textContent = metricText(state.threshold, 2);
  const image = content.gallery.images.find((each) => each.name === state.image);
  byId("figures").replaceChildren(...pictured().map((name) => figure(image, name)));
}

function figure(image, name) {
  const {right, wrong, missed, taken, f1} = judged(image, name);
  const there = image.truth.filter((box, place) => taken.has(place));
  const boxes = [
    ...(state.truth ? there.map((box) => outline(box, "there", "")) : []),
    ...(state.truth ? missed.map((box) => outline(box, "missed", className(box))) : []),
    ...right.map((box) => outline(box, "right", `${className(box)} ${metricText(box[5], 2)}`)),
    ...wrong.map((box) => outline(box, "wrong", `${className(box)} ${metricText(box[5], 2)}`)),
  ];
  const size = Math.max(image.width, image.height) / 42;
  const labels = state.labels ? boxes.filter((box) => box.text).map((box) => label(box, size)) : [];
  const words = `${right.length} right, ${wrong.length} wrong, ${missed.length} missed`;
  return element(
    "figure", {},
    element("figcaption", {}, element("b", {}, name), element("span", {}, words), element("span", {}, `F1 ${metricText(f1, 2)}`)),
    element(
      "div", {class: "frame"},
      element("img", {src: image.uri, alt: `${image.name}: ${name} has ${words}`, width: image.width, height: image.height}),
      drawn("svg", {viewBox: `0 0 ${image.width} ${image.height}`, "aria-hidden": "true"}, boxes.flatMap((box) => box.nodes), labels),
    ),
  );
}

function className(box) {
  return content.gallery.categories[box[4]];
}

// A box, dark below and coloured above, so that it shows on any picture.
function outline(box, look, text) {
  const [x, y, width, height] = box;
  const shape = {x, y, width, height, "vector-effect": "non-scaling-stroke"};
  const nodes = [drawn("rect", {...shape, class: "shade"}), drawn("rect", {...shape, class: look}, drawn("title", {}, text))];
  return {nodes, text, x, y, look};
}

function label({x, y, text, look}, size) {
  const above = y > size * 1.2;
  return drawn("text", {x, y: above ? y - size * 0.3 : y + size, "font-size": size, class: look}, text);
}

function keySample(look) {
  return drawn(
    "svg", {viewBox: "0 0 22 14", "aria-hidden": "true"},
    drawn("rect", {x: 2, y: 2, width: 18, height: 10, class: "shade"}),
    drawn("rect", {x: 2, y: 2, width: 18, height: 10, class: look}),
  );
}
