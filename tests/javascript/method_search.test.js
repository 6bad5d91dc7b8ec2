// @ts-check
/** Words that people type, and what they must find: one of these methods first, all of them among the first five. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { searchMethods } from "../../app/assets/method_search.js";

const catalogue = JSON.parse(readFileSync(new URL("../../app/catalog/catalogue.json", import.meta.url), "utf8"));
/** Of Still Life: all that is asked of a network, but for what only checkpoints of one's own have. */
const OFFERS = [...new Set(Object.values(catalogue.methods).flatMap((one) => one.need_keys))]
  .filter((key) => !["inpainting network", "editing network", "reference images", "distilled guidance", "t2i adapter", "ip adapter"].includes(key));
const names = (/** @type {string} */ typed, offers = OFFERS) => searchMethods(typed, catalogue, offers).methods.map((one) => one.name);
const says = (/** @type {string} */ typed) => searchMethods(typed, catalogue).signpost?.says ?? "";

/** typed -> methods that must be among the first five, and one of them the very first */
const FOUND = {
  "img2img": "sdedit", "image to image": "sdedit", "image2image": "sdedit", "denoising strength": "sdedit blended_latent",
  "variation": "sdedit ilvr", "rough sketch": "sdedit", "refine": "sdedit",
  "upscale": "ddnm ddrm dps pigdm snips", "upscaling": "ddnm ddrm dps", "super-resolution": "ddnm ddrm", "superresolution": "ddnm ddrm",
  "super resolution": "ddnm ddrm", "low resolution": "ddnm ddrm",
  "blur": "ddnm ddrm dps", "deblur": "dps ddnm ddrm", "deblurring": "dps ddnm ddrm", "restore": "ddnm ddrm pigdm dps snips", "old photo": "ddnm ddrm",
  "restoration": "ddnm ddrm", "colorize": "ddnm ddrm", "colourise": "ddnm ddrm", "colorization": "ddnm ddrm",
  "denoise": "snips ddnm ddrm", "jpeg": "ddnm ddrm", "compression": "ddnm", "inverse problem": "dps pigdm",
  "depth": "controlnet energy_guidance", "depth map": "controlnet", "canny": "controlnet", "edges": "controlnet energy_guidance",
  "scribble": "controlnet", "line art": "controlnet", "lineart": "controlnet", "sketch": "controlnet sdedit", "control net": "controlnet",
  "inpaint": "repaint blended_latent replacement", "inpainting": "repaint blended_latent replacement", "mask": "repaint blended_latent replacement",
  "outpaint": "repaint blended_latent", "outpainting": "repaint blended_latent", "remove object": "blended_latent repaint",
  "generative fill": "blended_latent", "fill": "blended_latent repaint", "hole": "repaint blended_latent",
  "p2p": "prompt_to_prompt", "prompt to prompt": "prompt_to_prompt", "prompt2prompt": "prompt_to_prompt", "change color": "prompt_to_prompt diffedit",
  "replace a word": "prompt_to_prompt", "edit by words": "prompt_to_prompt masactrl plug_and_play", "word weights": "prompt_to_prompt",
  "pnp": "plug_and_play", "style": "energy_guidance ilvr plug_and_play", "style transfer": "energy_guidance", "palette": "energy_guidance",
  "colours": "energy_guidance", "reference": "ilvr energy_guidance", "reference image": "ilvr energy_guidance",
  "regional prompt": "multidiffusion layout_guidance", "regional prompter": "multidiffusion", "regions": "multidiffusion",
  "bounding box": "layout_guidance multidiffusion", "boxes": "layout_guidance multidiffusion", "layout": "layout_guidance multidiffusion",
  "combine prompts": "composable", "and": "composable", "negation": "composable", "panorama": "panorama", "wide": "panorama",
  "tiled diffusion": "panorama", "sega": "semantic_guidance", "slider": "semantic_guidance", "pag": "perturbed_attention",
  "sag": "perturbed_attention", "missing object": "attend_and_excite", "invert": "edit_friendly_ddpm ddim_inversion", "inversion": "edit_friendly_ddpm ddim_inversion",
  "edit a photo": "edit_friendly_ddpm null_text", "real image": "edit_friendly_ddpm", "cfg": "cfg", "guidance scale": "cfg",
  "null text": "null_text", "attention": "attend_and_excite prompt_to_prompt perturbed_attention", "pose": "masactrl", "lora": "lora", "LyCORIS": "lora", "low frequencies": "ilvr",
};

test("what people type finds what does it", () => {
  const wrong = [];
  for (const [typed, wanted] of Object.entries(FOUND)) {
    const found = names(typed), all = wanted.split(" ");
    const first = found.slice(0, Math.max(5, all.length));
    if (!all.every((name) => first.includes(name)) || !all.includes(found[0])) wrong.push(`${typed}: ${first.join(" ")}, wanted ${wanted}`);
  }
  assert.deepEqual(wrong, []);
});

test("what the network has none of comes after what runs on it, and first where it has it", () => {
  assert.equal(names("inpainting")[0], "blended_latent");
  assert.ok(names("inpainting").slice(0, 6).includes("inpainting_network"));
  assert.equal(names("inpainting", [...OFFERS, "inpainting network"])[0], "inpainting_network");
});

test("editing by instruction is found, first where the network does that", () => {
  assert.ok(names("instruct pix2pix").includes("instruct_pix2pix"));
  assert.equal(names("edit by instruction", [...OFFERS, "editing network"])[0], "instruct_pix2pix");
  assert.equal(names("kontext", [...OFFERS, "reference images"])[0], "in_context_images");
});

test("adapters are found, first where the network has them", () => {
  assert.equal(names("t2i-adapter")[0], "t2i_adapter");
  for (const typed of ["ip-adapter", "ipadapter", "image prompt", "style reference"]) assert.equal(names(typed, [...OFFERS, "ip adapter"])[0], "ip_adapter", typed);
  assert.equal(names("colour palette", [...OFFERS, "t2i adapter"])[0], "t2i_adapter");
});

test("for what is not here it says so, and gives the nearest", () => {
  for (const typed of ["dreambooth", "textual inversion", "openpose", "face ID", "qwen-image-edit",
    "esrgan", "gfpgan", "face restore", "hires fix", "drag", "remove background", "interpolation", "normal map"]) {
    assert.match(says(typed), /Nearest: /, typed);
    assert.ok(names(typed).length > 0, typed);
  }
  assert.equal(names("dreambooth")[0], "lora");
  assert.match(says("video"), /Single images only/);
});

test("a paper of the survey that is not here is found by its name", () => {
  for (const typed of ["GLIGEN", "gligen"]) assert.match(says(typed), /^GLIGEN itself is not here\./);
});

test("what is elsewhere on the page is said", () => {
  assert.match(says("sampler"), /Sampling method/);
  assert.match(says("negative prompt"), /field of its own/);
});

test("a method that is meant needs no signpost, and nonsense finds nothing", () => {
  for (const typed of ["depth", "mask", "img2img", "RePaint", "ddnm", "style", "upscale", "upscaler"]) assert.equal(says(typed), "", typed);
  for (const typed of ["qwertz", "  ", "?!"]) assert.deepEqual(names(typed), [], typed);
  assert.equal(says("qwertz"), "");
});

test("every method is found by its own name, its title and each of its words", () => {
  for (const one of Object.values(catalogue.methods)) {
    for (const typed of [one.name, one.title]) assert.equal(names(typed)[0], one.name, typed);
    for (const typed of one.search) assert.ok(names(typed).includes(one.name), `${typed}: ${one.name}`);
  }
});
