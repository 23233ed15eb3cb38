"""Public sources of chest films that the shipped network may have learned from: what each is, how its labels came
about, and the terms as stated where the films were found. A set of one's own has other sources; nothing is said of
those.

A label's basis is the text in the column `label_basis` of a data set.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class KnownSource:
    what: str
    labels: str
    """How the labels came about."""
    readers: str
    """Who read the films, and what is not known of it."""
    terms: str
    """As stated; of films without terms, that."""


KNOWN = {
    "nih": KnownSource(
        what="NIH ChestX-ray14, NIH Clinical Center (Wang et al., CVPR 2017)",
        labels="in this order: the class that a radiologist of the RSNA challenge 2018 gave (Normal; Lung "
        "Opacity, which "
        "counts as pneumonia); Google's adjudicated labels (2019); words found in the report by a program "
        "(nih_report_nlp), which nobody checked on the film",
        readers="radiologists of the RSNA and of Google; who read which film, and how often readers agree, is "
        "not in the "
        "data. Report-mined labels have no reader: of 155 adult PA films that a program called pneumonia, RSNA's "
        "radiologists called 40 lung opacity, 65 not normal without opacity, and 50 normal",
        terms="attribution to the NIH Clinical Center, and the citation",
    ),
    "ieee8023": KnownSource(
        what="COVID-19 image data collection (Cohen et al. 2020): figures of journals and web sites",
        labels="the disease of the patient, as whoever published the film gave it. What test it rests on is not in "
        "the data. A film may look normal",
        readers="none of record",
        terms="stated for each film: from CC BY to non-commercial, and for many films none",
    ),
    "hannover": KnownSource(
        what="COVID-19 image repository of Hannover Medical School",
        labels="the patient is of the hospital's COVID-19 cohort. The label is the patient's: a film may look normal",
        readers="none of record",
        terms="CC BY 3.0",
    ),
    "actualmed": KnownSource(
        what="Actualmed COVID-19 chest films",
        labels="the collection's own table",
        readers="none of record",
        terms="none; 'intended to be used for research purposes only'",
    ),
    "figure1": KnownSource(
        what="Figure 1 COVID-19 chest films",
        labels="the collection's own table",
        readers="none of record",
        terms="none; 'intended to be used for research purposes only'",
    ),
    "siim": KnownSource(
        what="SIIM-FISABIO-RSNA challenge 2021, films of BIMCV-COVID19+",
        labels="every patient had COVID-19. Films that radiologists called typical or indeterminate for it, with "
        "a box drawn, "
        "are COVID-19; films that they called negative for pneumonia count as normal, which means that no pneumonia "
        "was seen, not that the patient is healthy",
        readers="radiologists of the challenge; who, and how often they agree, is not in the data. Views are estimated "
        "from the pixels",
        terms="none with the copy; the challenge gave its films for non-commercial research",
    ),
    "covidcxnet": KnownSource(
        what="COVID-CXNet: films of SIRM, Radiopaedia, journals and social media",
        labels="the repository's list. Views are estimated from the pixels",
        readers="none of record",
        terms="CC BY 4.0 as the repository says, of films that others published",
    ),
    "mendeley_tb": KnownSource(
        what="Dataset of Tuberculosis Chest X-rays (Mendeley Data), Pakistan",
        labels="the folder that the publisher put the film in",
        readers="none of record",
        terms="none with the copy; said to be CC BY 4.0",
    ),
    "openist": KnownSource(
        what="OpenIST: films of a teaching site for radiology",
        labels="the repository's list: all are called normal",
        readers="none of record",
        terms="none",
    ),
    "kermany": KnownSource(
        what="Guangzhou Women and Children's Medical Center, children of 1 to 5 years (Kermany et al. 2018)",
        labels="the publisher's folders",
        readers="two physicians of the publisher graded the films, a third checked some; who is not in the data",
        terms="CC BY 4.0",
    ),
}
"""By the name in the column `source`."""
