"""The page, in Gradio. Gradio is imported here alone, and only when a page is asked for."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gan_lt.app.gallery import MAX_IMAGES, Gallery
from gan_lt.errors import InputError

_IMAGES = 24
_COLUMNS = 10
_MAX_SEED = 9999
_LOCAL = "127.0.0.1,localhost,0.0.0.0"


def _gradio() -> Any:
    """Gradio, told beforehand to report nothing to anyone.

    Raises:
        InputError: it is not installed.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    # its start-up asks its own server whether it answers: a proxy must not be in between
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = ",".join(part for part in (os.environ.get(name), _LOCAL) if part)
    try:
        import gradio
    except ImportError as error:
        raise InputError(
            f"gan-lt app needs Gradio, which can't be imported ({error}); install it with: "
            f"pip install 'gan_lt[app]', or use gan-lt generate"
        ) from error
    return gradio


def _picture(gr: Any) -> Any:
    # no label: it would lie on top of the picture; no button that shares it with others
    buttons = ["download", "fullscreen"]
    return gr.Image(show_label=False, format="png", interactive=False, buttons=buttons)


def build_page(gallery: Gallery, title: str) -> Any:
    """The page as a gradio.Blocks.

    Raises:
        InputError: Gradio is not installed.
    """
    gr = _gradio()
    choices = [(gallery.describe(name), name) for name in gallery.class_names]

    def one_class(name: str, seed: int, psi: float, images: int) -> tuple[NDArray[np.uint8], Any]:
        images = int(images)
        return gallery.samples(name, int(seed), psi, images), gallery.real_images(name, images)

    def all_classes(seed: int, psi: float, page: int) -> NDArray[np.uint8]:
        return gallery.rows(int(seed), psi, _COLUMNS, int(page))

    with gr.Blocks(title=f"gan_lt: {title}", analytics_enabled=False) as page:
        gr.Markdown(f"# {title}\nThe same class, seed and truncation give the images of `gan-lt generate`.")
        with gr.Row():
            seed = gr.Slider(0, _MAX_SEED, 0, step=1, label="Seed")
            psi = gr.Slider(0, 1.5, 1, step=0.05, label="Truncation", info="1: all the variety")
        with gr.Tab("One class"):
            with gr.Row():
                name = gr.Dropdown(choices, value=choices[-1][1], label="Class, most common first")
                images = gr.Slider(1, MAX_IMAGES, _IMAGES, step=1, label="Images")
            with gr.Row():
                with gr.Column():
                    gr.Markdown("**Samples**")
                    made = _picture(gr)
                with gr.Column(visible=gallery.real is not None):
                    gr.Markdown("**Real images**")
                    real = _picture(gr)
            if gallery.without_real:
                gr.Markdown(f"No real images: {gallery.without_real}")
        with gr.Tab("All classes"):
            number = gr.Slider(1, max(2, gallery.pages), 1, step=1, label="Page", visible=gallery.pages > 1)
            gr.Markdown("**A row a class, the most common first**")
            rows = _picture(gr)
        one = {"fn": one_class, "inputs": [name, seed, psi, images], "outputs": [made, real]}
        every = {"fn": all_classes, "inputs": [seed, psi, number], "outputs": rows}
        page.load(**one)
        page.load(**every)
        for control in (name, seed, psi, images):
            control.change(**one, trigger_mode="always_last")
        for control in (seed, psi, number):
            control.change(**every, trigger_mode="always_last")
    return page


def serve(gallery: Gallery, title: str, *, host: str, port: int, share: bool, block: bool = True) -> Any:
    """Serve the page; with `block` until Ctrl-C, else return the running gradio.Blocks, whose `close` ends it.

    Raises:
        InputError: Gradio is not installed, or the port is taken.
    """
    page = build_page(gallery, title)
    gr = _gradio()
    # fonts of the system: the default ones come from Google
    theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    try:
        page.launch(
            server_name=host,
            server_port=port,
            share=share,
            theme=theme,
            show_error=True,
            prevent_thread_lock=not block,
            quiet=not block,
        )
    except OSError as error:
        raise InputError(f"--port: {port} can't be served on ({error}); choose another one") from error
    return page


__all__ = ["build_page", "serve"]
