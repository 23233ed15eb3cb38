"""What was odd about a film that is shown all the same: codes for the audit event, never a value of the data set."""

WINDOW = "window_unusable"
VOI_LUT = "voi_lut_unusable"
VOI_LUT_BITS = "voi_lut_bits"
VOI_FUNCTION = "voi_function_unknown"
MODALITY_LUT = "modality_lut_unusable"
RESCALE = "rescale_unusable"
POLARITY = "polarity_contradiction"
PADDING = "padding_unusable"
ASPECT = "aspect_unusable"
SHUTTER = "shutter_unusable"

NOTES: dict[str, str] = {
    WINDOW: "a Window Center or Width is no number, or the width not over 0: the next one, else the film's own range",
    VOI_LUT: "an item of the VOI LUT Sequence is no table: the next one, else the window, else the film's own range",
    VOI_LUT_BITS: "the VOI LUT's descriptor says other bits than its entries can have: white is of those they need",
    VOI_FUNCTION: "VOI LUT Function is none of LINEAR, LINEAR_EXACT and SIGMOID: LINEAR",
    MODALITY_LUT: "the Modality LUT Sequence holds no table: the rescale, else the stored values",
    RESCALE: "Rescale Slope cannot be read or is 0: 1, and the intercept stays; or Intercept cannot be read: 0",
    POLARITY: "Photometric Interpretation and Presentation LUT Shape contradict each other",
    PADDING: "Pixel Padding Value cannot be read, or is no value that a pixel can have: no padding",
    ASPECT: "a pixel spacing or aspect ratio makes no sense: the next one, else square pixels",
    SHUTTER: "a shape of the shutter is unknown, malformed, or hides the whole film: it is left out",
}
