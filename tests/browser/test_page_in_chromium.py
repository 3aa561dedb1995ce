"""The page as a person uses it: draw, upload, click an example; what is shown is what the model answers."""

import base64
import io
import os
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from serve.classifier import Classifier
from serve.page.show import choose_examples
from serve.verdict import Verdict, read_verdicts
from tests.browser.conftest import Visit, open_page, predict
from tests.serving import Served, serving
from tests.train.drawn_digits import HANDS

pytestmark = pytest.mark.browser


def draw(page: Page, digit: int) -> None:
    """Draw a digit with the mouse, stroke by stroke."""
    page.locator(".fx-canvas").hover()  # which waits until it has stopped moving and takes the mouse
    box = page.locator(".fx-canvas").bounding_box()
    assert box is not None
    for stroke in HANDS[digit][0]:
        points = [
            (box["x"] + box["width"] * (0.2 + 0.6 * x), box["y"] + box["height"] * (0.15 + 0.7 * y)) for x, y in stroke
        ]
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point, steps=4)
        page.mouse.up()


def drawn(page: Page) -> bytes:
    """Return the drawing as the canvas holds it."""
    url = page.locator(".fx-canvas").evaluate("canvas => canvas.toDataURL('image/png')")
    return base64.b64decode(url.partition(",")[2])


def expect_answer(page: Page, source: str, label: str, probabilities: dict[str, float]) -> None:
    """Check the verdict and every bar of the page."""
    expect(page.locator(".fx-source")).to_have_text(source)
    expect(page.locator(".fx-verdict")).to_have_text(f"{label} with probability {probabilities[label]:.4f}")
    bars = {
        name.strip(): value.strip()
        for name, value in (
            row.split("\n")[:2] for row in page.locator("[data-testid$='-confidence-set']").all_inner_texts()
        )
    }
    assert bars == {name: f"{np.floor(100 * value + 0.5):.0f}%" for name, value in probabilities.items()}


def wait_for_answer(page: Page) -> None:
    page.locator(".fx-verdict").wait_for()


@pytest.mark.parametrize("digit", [3, 7])
def test_a_drawn_digit_is_recognised(visit: Visit, served: Served, digit: int) -> None:
    draw(visit.page, digit)
    wait_for_answer(visit.page)
    answer = predict(served, drawn(visit.page))
    assert answer["label"] == str(digit)
    expect_answer(visit.page, "Drawing", answer["label"], answer["probabilities"])
    details = visit.page.locator(".fx-provenance").inner_text()
    for fact in ("digits", "CPUExecutionProvider", "float32", "certified", answer["provenance"]["bundle_sha256"][:12]):
        assert fact in details
    expect(visit.page.get_by_alt_text("The image as the model saw it")).to_be_visible()
    visit.page.get_by_role("button", name="Clear").click()
    expect(visit.page.locator(".fx-verdict")).to_have_count(0)
    assert np.asarray(Image.open(io.BytesIO(drawn(visit.page))).convert("L")).max() == 0
    visit.page.locator(".fx-predict").click()
    expect(visit.page.locator(".fx-error")).to_have_text("There is no drawing yet; draw on the black square first.")
    assert visit.foreign() == []


def test_an_uploaded_photo_gets_the_answer_of_the_api(visit: Visit, served: Served, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    photo.write_bytes(paper_digit())
    visit.page.get_by_role("tab", name="Image").click()
    visit.page.locator("input[type=file]").set_input_files(photo)
    wait_for_answer(visit.page)
    answer = predict(served, photo.read_bytes())
    expect_answer(visit.page, "Image", answer["label"], answer["probabilities"])
    assert visit.foreign() == []


def paper_digit() -> bytes:
    """Return a photo of a one: dark ink on light paper, in colour."""
    pixels = np.full((300, 200, 3), (235, 228, 210), dtype=np.uint8)
    pixels[40:260, 90:115] = (30, 40, 90)
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, "PNG")
    return target.getvalue()


def test_an_example_gets_the_classifiers_answer(visit: Visit, digits_bundle: Path) -> None:
    with Classifier.open(digits_bundle, provider="cpu", threads=1) as classifier:
        examples = choose_examples(classifier)
        pixels = np.concatenate([example.pixels for example in examples])
        verdicts = read_verdicts(classifier.manifest, classifier.submit({"image": pixels}).result().outputs)
    buttons = visit.page.locator(".fx-example")
    expect(buttons).to_have_count(len(examples))
    assert len({example.label for example in examples}) == 10
    for index in (0, len(examples) - 1):
        buttons.nth(index).click()
        verdict: Verdict = verdicts[index]
        expect(visit.page.locator(".fx-note").first).to_contain_text(f"The true label is {examples[index].label}")
        assert verdict.label is not None
        expect_answer(visit.page, "Held-out image", verdict.label, verdict.values)
    assert visit.foreign() == []


def test_on_a_phone_the_answer_to_an_example_comes_into_view(browser: Browser, served: Served) -> None:
    visit = open_page(browser, served, width=390, height=740)
    try:
        visit.page.locator(".fx-example").last.click()
        wait_for_answer(visit.page)
        expect(visit.page.locator(".fx-verdict")).to_be_in_viewport(timeout=10_000)
    finally:
        visit.page.context.close()


def test_a_text_file_named_png_gets_one_sentence(visit: Visit, tmp_path: Path) -> None:
    fake = tmp_path / "fake.png"
    fake.write_text("no image at all")
    visit.page.get_by_role("tab", name="Image").click()
    visit.page.locator("input[type=file]").set_input_files(fake)
    alert = visit.page.get_by_role("alert")
    expect(alert).to_contain_text("The 15 bytes are no image in a known format, but one of JPEG, PNG")
    assert "Traceback" not in visit.page.content()
    visit.page.get_by_role("button", name="Predict").click()
    expect(alert).to_contain_text("The 15 bytes are no image in a known format")


@pytest.mark.parametrize("width", [390, 1200])
def test_nothing_is_wider_than_the_window(browser: Browser, served: Served, width: int) -> None:
    visit = open_page(browser, served, width=width, height=844)
    try:
        draw(visit.page, 3)
        wait_for_answer(visit.page)
        visit.page.locator(".fx-example").first.wait_for()
        assert visit.page.evaluate("document.documentElement.scrollWidth") == width
        folder = os.environ.get("SCREENSHOTS")
        if folder:
            visit.page.screenshot(path=Path(folder) / f"page-{width}.png", full_page=True)
    finally:
        visit.page.context.close()


# the least contrast of every text of the page, WCAG 2.2's ratio of the relative luminances, with the text itself
_LEAST_CONTRAST = """() => {
  const paint = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (color) => {
    paint.clearRect(0, 0, 1, 1);
    paint.fillStyle = color;
    paint.fillRect(0, 0, 1, 1);
    return [...paint.getImageData(0, 0, 1, 1).data];
  };
  const luminance = (color) =>
    color.slice(0, 3).reduce((sum, value, index) => {
      const share = value / 255;
      const linear = share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
      return sum + [0.2126, 0.7152, 0.0722][index] * linear;
    }, 0);
  const found = [];
  const walker = document.createTreeWalker(document.querySelector(".gradio-container"), NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent.trim();
    if (!text || !element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
    if (["STYLE", "SCRIPT"].includes(element.tagName) || element.getClientRects().length === 0) continue;
    let ground = element;
    while (ground && rgba(getComputedStyle(ground).backgroundColor)[3] < 255) ground = ground.parentElement;
    const [dark, light] = [
      luminance(rgba(getComputedStyle(element).color)),
      luminance(ground ? rgba(getComputedStyle(ground).backgroundColor) : [255, 255, 255]),
    ].sort((a, b) => a - b);
    found.push([(light + 0.05) / (dark + 0.05), text.slice(0, 60)]);
  }
  return found.sort((a, b) => a[0] - b[0]);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_is_readable(browser: Browser, served: Served, scheme: Literal["light", "dark"]) -> None:
    visit = open_page(browser, served, color_scheme=scheme)
    try:
        draw(visit.page, 3)
        wait_for_answer(visit.page)
        visit.page.locator(".fx-example").first.wait_for()
        folder = os.environ.get("SCREENSHOTS")
        if folder:
            visit.page.screenshot(path=Path(folder) / f"page-{scheme}.png", full_page=True)
        found = visit.page.evaluate(_LEAST_CONTRAST)
        texts = " ".join(text for _, text in found)
        assert all(word in texts for word in ("What the model saw", "Closed set", "Held-out images", "Predict"))
        assert [(round(ratio, 2), text) for ratio, text in found if not ratio >= 4.5] == []
    finally:
        visit.page.context.close()


def test_a_server_with_an_open_page_stops(browser: Browser, digits_bundle: Path) -> None:
    with serving(str(digits_bundle), "--provider", "cpu") as served:
        visit = open_page(browser, served)
        draw(visit.page, 7)
        wait_for_answer(visit.page)
    visit.page.context.close()
