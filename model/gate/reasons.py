"""Why the gate refuses a film, in the order in which the rules are asked; the first that applies is the reason."""

REASONS: dict[str, str] = {
    "modality": "Modality (0008,0060) is not one that is scored",
    "body_part": "Body Part Examined (0018,0015) is another part of the body",
    "view_missing": "neither View Position (0018,5101) nor View Code Sequence (0054,0220) names a view, and the "
    "pixels do not clearly show one that is scored",
    "view_conflict": "View Position, View Code Sequence and Patient Orientation (0020,0020) contradict each other",
    "view": "the view that the header names is not one that is scored",
    "orientation": "Patient Orientation says that the film lies turned, and the pixels do not clearly say otherwise",
    "age": "patient is younger than the limit",
    "burned_in": "Burned In Annotation (0028,0301) is YES",
    "quality_control": "Quality Control Image (0028,0300) is YES",
    "derived": "not the film itself but a picture made from it: dual energy, bone suppressed, marked by CAD, secondary",
    "for_processing": "made for processing, and no window or VOI LUT says how it is shown",
    "too_small": "fewer than 224 rows or columns as stored",
    "blank": "hardly any contrast or information in the film as displayed",
    "clipped": "a quarter or more of the middle of the film is plain black or plain white: exposure or window is wrong",
    "not_a_chest_film": "the pixels are unlike any frontal chest film",
    "inverted": "black and white are exchanged",
    "rotated": "the film lies turned by 90, 180 or 270 degrees",
    "view_pixels": "the pixels clearly show a view that is not scored, though the header says otherwise or nothing",
}
